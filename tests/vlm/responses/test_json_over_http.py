"""One request: what comes back, and what is said of a server that answers otherwise."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep

import pytest

from vlm.responses.json_over_http import NoAnswer, RefusedRequest, exchange
from vlm.responses.served_teacher import KEY_VARIABLE, ServedTeacherError, connect


@contextmanager
def answering(respond):
    """A server whose GET is `respond(handler)`; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            respond(self)

        def log_message(self, *_):
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def head(handler, code=200, length=None):
    handler.send_response(code)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()


def test_a_long_object_comes_back_whole():
    content = {"rows": list(range(200_000))}

    def respond(handler):
        data = json.dumps(content).encode()
        head(handler, length=len(data))
        handler.wfile.write(data)

    with answering(respond) as url:
        assert exchange(url, None, 60.0) == content


def test_a_key_that_the_server_repeats_is_masked():
    def respond(handler):
        head(handler, code=401)
        handler.wfile.write(("x" * 290 + " bad key " + handler.headers["Authorization"]).encode())

    with answering(respond) as url, pytest.raises(RefusedRequest) as caught:
        exchange(url, "sk-secret", 60.0)
    assert "answers 401" in str(caught.value) and "sk-" not in str(caught.value)


def test_an_answer_that_drips_is_not_waited_for_longer_than_one_that_does_not_come():
    def respond(handler):
        head(handler)
        for _ in range(100):
            handler.wfile.write(b" ")
            sleep(0.05)

    with answering(respond) as url:
        began = monotonic()
        with pytest.raises(NoAnswer, match="no answer in time"):
            exchange(url, None, 0.5)
        took = monotonic() - began
    assert took < 4.0  # the server takes five seconds


def test_an_answer_that_breaks_off_is_none():
    def respond(handler):
        head(handler, length=100)
        handler.wfile.write(b"{}")

    with answering(respond) as url, pytest.raises(NoAnswer):
        exchange(url, None, 60.0)


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel"])
def test_a_key_that_no_header_can_hold_is_refused_by_the_variables_name(monkeypatch, key):
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(ServedTeacherError, match=f"{KEY_VARIABLE} must be one line") as caught:
        connect("http://127.0.0.1:1", None, 20)
    assert key not in str(caught.value)
