"""One request to a server that speaks JSON, by the standard library; each failure is one line."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse, IncompleteRead
from time import monotonic
from typing import Any

from cli.foreign_json import read_json

_LONGEST = 300  # characters of what a server says


class NoAnswer(Exception):
    """Nothing came back: no server, a broken connection, or too long a wait."""


class RefusedRequest(Exception):
    """The server refuses the request, or answers with something else than a JSON object."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow no redirect: a key and what is sent are for one address."""


def exchange(address: str, key: str | None, timeout_s: float, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Send a request and return the JSON object that comes back.

    Args:
        key: sent as a bearer token, and masked in what the server says; None for none.
        timeout_s: how long an answer is waited for, from its first byte to its last, too.
        body: what is posted; without one the address is read.

    Raises:
        RefusedRequest, NoAnswer: there is no such object.
    """
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, headers)
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s) as answer:
            content = read_json(_content(answer, timeout_s))
    except urllib.error.HTTPError as error:
        raise RefusedRequest(f"answers {error.code}: {_complaint(error, key)}") from None
    except ValueError:
        content = None
    except (HTTPException, OSError) as error:
        raise NoAnswer(_reason(error)) from None
    if not isinstance(content, dict):
        raise RefusedRequest("must answer with a JSON object; is it an OpenAI server?")
    return content


def _content(answer: HTTPResponse, timeout_s: float) -> bytes:
    """Read an answer; a socket's own limit is for each piece of it."""
    last, pieces = monotonic() + timeout_s, []
    while piece := answer.read1(1 << 20):
        pieces.append(piece)
        if monotonic() > last:
            raise TimeoutError
    if answer.length:  # what was announced and did not come
        raise IncompleteRead(b"", answer.length)
    return b"".join(pieces)


def _complaint(error: urllib.error.HTTPError, key: str | None) -> str:
    """Return what the server says of a refused request, in one line without the key."""
    try:
        text = error.read(10_000).decode(errors="replace")
    except (HTTPException, OSError):
        text = ""
    try:
        content = read_json(text)
        text = str((content.get("error") or content)["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # no object of OpenAI's form
    line = " ".join((text or str(error.reason)).split())
    line = line.replace(key, "***") if key else line
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return "no answer in time" if isinstance(reason, TimeoutError) else str(reason) or type(error).__name__
