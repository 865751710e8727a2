"""A server on this machine that speaks vLLM's form of OpenAI's chat completions for a teacher that is loaded here."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from PIL import Image

from vlm.checkpoints.checkpoint import LoadedModel
from vlm.responses.scoring import view_logits
from vlm.views.view import View, encode_prompts


@dataclass
class TeacherServer:
    """The server's address, what it was asked, and how it misbehaves.

    top_k_most: larger `prompt_logprobs` are refused, as vLLM does.
    spoil: changes an answer before it is sent.
    answers: number of requests that are answered; later connections are cut.
    """

    url: str = ""
    top_k_most: int = 1000
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[str | None] = field(default_factory=list)
    spoil: Any = staticmethod(lambda answer: answer)
    answers: int = 10**9
    models: tuple[str, ...] = ("the-teacher",)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # more connections than are made at a time: 5 would cut some on a busy machine


@contextmanager
def serving(teacher: LoadedModel) -> Iterator[TeacherServer]:
    """Serve a teacher while the context lasts."""
    about, lock = TeacherServer(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            about.headers.append(self.headers.get("Authorization"))
            self._send(200, {"object": "list", "data": [{"id": name} for name in about.models]})

        def do_POST(self) -> None:
            with lock:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                about.asked.append(body)
                about.headers.append(self.headers.get("Authorization"))
                if len(about.asked) > about.answers:
                    self.close_connection = True
                elif body["prompt_logprobs"] > about.top_k_most:
                    said = f"Requested prompt logprobs of {body['prompt_logprobs']}, which is greater than max allowed"
                    self._send(400, {"error": {"message": said, "code": 400}})
                else:
                    self._send(200, about.spoil(_answer(teacher, body)))

        def _send(self, code: int, content: Any) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    about.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield about
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(teacher: LoadedModel, body: dict[str, Any]) -> dict[str, Any]:
    assert body["continue_final_message"] and not body["add_generation_prompt"] and body["return_token_ids"]
    *messages, said = body["messages"]
    assert said["role"] == "assistant"
    pictures: list[Image.Image] = []
    view = View(tuple(_message(message, pictures) for message in messages), tuple(pictures))
    prompt = encode_prompts([view], teacher.processor)["input_ids"][0].tolist()
    ids = teacher.processor.tokenizer(said["content"], add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        [logits] = view_logits(teacher, [view], [ids], teacher.n_ids)
    rows = [_row(row, token, body["prompt_logprobs"]) for row, token in zip(logits.log_softmax(-1), ids, strict=True)]
    before = [{str(token): {"logprob": -1.0, "rank": 1}} for token in prompt[1:]]
    return {"choices": [], "prompt_token_ids": [*prompt, *ids], "prompt_logprobs": [None, *before, *rows]}


def _message(message: dict[str, Any], pictures: list[Image.Image]) -> dict[str, Any]:
    if isinstance(message["content"], str):
        return message
    parts = []
    for part in message["content"]:
        if part["type"] == "image_url":
            head, data = part["image_url"]["url"].split(",")
            assert head == "data:image/png;base64"
            pictures.append(Image.open(io.BytesIO(base64.b64decode(data))))
            part = {"type": "image"}
        parts.append(part)
    return {**message, "content": parts}


def _row(log_probs: torch.Tensor, token: int, top_k: int) -> dict[str, Any]:
    """The K most probable ids and the token itself, as vLLM reports them."""
    most = log_probs.topk(min(top_k, len(log_probs))).indices.tolist()
    return {
        str(i): {"logprob": max(float(log_probs[i]), -9999.0), "rank": rank, "decoded_token": "?"}
        for rank, i in enumerate(dict.fromkeys([*most, token]), 1)
    }
