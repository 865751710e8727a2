"""A teacher behind a server: its log-probabilities at each token of a response, for its most probable ids.

The server speaks OpenAI's chat form with the fields that vLLM adds. A view is one request:

    POST URL/v1/chat/completions
    {"messages": [..., {"role": "assistant", "content": the response}], "continue_final_message": true,
     "add_generation_prompt": false, "prompt_logprobs": K, "return_token_ids": true, "max_tokens": 1, ...}

Of the answer `prompt_token_ids` and `prompt_logprobs` are read. The server renders the messages with its own chat
template and reads the response as text, so the ids at the end of `prompt_token_ids` must be those of the response.
Nothing is sent but to this address; redirects are not followed.
"""

import base64
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cli.errors import Stopped, UserError
from vlm.pictures.picture import Picture
from vlm.responses.json_over_http import NoAnswer, RefusedRequest, exchange
from vlm.responses.rollouts import Rollout
from vlm.views.chat_template import parts_of
from vlm.views.view import View

KEY_VARIABLE = "VGS_TEACHER_KEY"
"""Environment variable with the key that the server asks for; it is neither printed nor recorded."""
NO_PROBABILITY = -9999.0
"""What vLLM writes for a log-probability of -inf."""

Report = Sequence[Mapping[int, float]]
"""For each token of a response, log-probabilities by id: of the K most probable ids, and of the token itself."""


class ServedTeacherError(UserError):
    """A server that cannot be asked, or whose answer cannot be used; the message is one line."""


@dataclass(frozen=True)
class ServedTeacher:
    """A model behind a server.

    base: the address, with `/v1`.
    model: the name under which it is served.
    top_k: number of ids that are asked for at each token.
    timeout_s: how long an answer is waited for.
    """

    base: str
    model: str
    top_k: int
    timeout_s: float = 600.0
    key: str | None = field(default=None, repr=False)

    def report(self, view: View, rollout: Rollout, tokenizer: Any) -> Report:
        """Return what the server says of each token of a response under a view.

        Raises:
            ServedTeacherError: the server refuses the request, reads other tokens, or leaves log-probabilities out.
            Stopped: the server does not answer.
        """
        text = tokenizer.decode(list(rollout.token_ids), skip_special_tokens=False)
        ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        _refuse_other_ids(ids, rollout, tokenizer, "the tokenizer")
        urls = map(_data_url, view.images)
        body = {
            "model": self.model,
            "messages": [*(_message(one, urls) for one in view.messages), {"role": "assistant", "content": text}],
            "continue_final_message": True,
            "add_generation_prompt": False,
            "prompt_logprobs": self.top_k,
            "return_token_ids": True,
            "max_tokens": 1,
            "temperature": 0.0,
        }
        body |= {"chat_template_kwargs": dict(view.template_args)} if view.template_args else {}
        return _read(self._answer(body), rollout, tokenizer)

    def _answer(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return _asked(f"{self.base}/chat/completions", self.key, self.timeout_s, body)
        except NoAnswer as error:
            raise Stopped(
                f"the server of `teacher_url` does not answer any more ({error}); start it again, and the same command"
                " goes on"
            ) from None


def connect(url: str, model: str | None, top_k: int, timeout_s: float = 600.0) -> ServedTeacher:
    """Return the teacher behind an address, once the server has listed its models.

    Args:
        url: such as `http://localhost:8000`.
        model: the name under which the teacher is served; by default the only one.

    Raises:
        ServedTeacherError: the address or the key is none, or no server answers there, or it serves another model or
            several.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise ServedTeacherError(
            f"`teacher_url` must be an address such as http://localhost:8000, without a user or a query; put a key into"
            f" the environment variable {KEY_VARIABLE}"
        )
    base, key = url.rstrip("/").removesuffix("/v1") + "/v1", os.environ.get(KEY_VARIABLE)
    if key and not (key.isascii() and key.isprintable()):
        raise ServedTeacherError(f"{KEY_VARIABLE} must be one line of ASCII letters, digits and signs, as a header is")
    try:
        listed = _asked(f"{base}/models", key, min(timeout_s, 60.0))
    except NoAnswer as error:
        raise ServedTeacherError(f"`teacher_url` {url} must be a server that answers: {error}") from None
    rows = listed.get("data")
    names = [str(row.get("id")) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if (model is None and len(names) != 1) or (model is not None and model not in names):
        raise ServedTeacherError(
            f"`teacher_model` must be one that {url} serves, got {model}: it serves {', '.join(names) or 'none'}"
        )
    return ServedTeacher(base, model or names[0], top_k, timeout_s, key)


def _asked(address: str, key: str | None, timeout_s: float, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    try:
        return exchange(address, key, timeout_s, body)
    except RefusedRequest as error:
        raise ServedTeacherError(f"`teacher_url`: {address} {error}") from None


def _message(message: Mapping[str, Any], urls: Iterator[str]) -> dict[str, Any]:
    """Return a message as the server takes it: text as it is, each image part as the next of `urls`."""
    if isinstance(message["content"], str):
        return dict(message)
    parts = [
        {"type": "image_url", "image_url": {"url": next(urls)}} if part["type"] == "image" else dict(part)
        for part in parts_of(message)
    ]
    return {**message, "content": parts}


def _data_url(picture: Picture) -> str:
    """Return the pixels that a processor here would be given, as PNG, which loses nothing."""
    buffer = io.BytesIO()
    picture.load().save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _read(answer: Mapping[str, Any], rollout: Rollout, tokenizer: Any) -> Report:
    """Return the log-probabilities of an answer at the tokens of the response."""
    ids, rows, n = answer.get("prompt_token_ids"), answer.get("prompt_logprobs"), len(rollout.token_ids)
    for name, value in (("prompt_token_ids", ids), ("prompt_logprobs", rows)):
        if not isinstance(value, list):
            raise ServedTeacherError(f"`teacher_url`: the answer must have `{name}`; a server of vLLM gives it")
    assert isinstance(ids, list) and isinstance(rows, list)
    if len(ids) <= n:
        raise ServedTeacherError(
            f"`teacher_url`: the answer must have the tokens of the prompt and the {n} of response"
            f" {rollout.rollout_id}, got {len(ids)} in `prompt_token_ids`"
        )
    if len(rows) != len(ids):
        raise ServedTeacherError(
            f"`teacher_url`: the answer must have `prompt_logprobs` for each of {len(ids)} tokens, got {len(rows)}"
        )
    _refuse_other_ids(ids[-n:], rollout, tokenizer, "the server")
    return [_log_probs(row, rollout) for row in rows[-n:]]


def _log_probs(row: Any, rollout: Rollout) -> dict[int, float]:
    try:
        numbers = {int(token): float(about["logprob"]) for token, about in row.items()}
    except (AttributeError, TypeError, KeyError, ValueError):
        numbers = {}
    if not numbers or not sum(map(math.exp, numbers.values())) <= 1.0 + 1e-3:  # not of nan either
        raise ServedTeacherError(
            f"`teacher_url`: the answer must have log-probabilities at each token of response {rollout.rollout_id}"
        )
    return {token: value for token, value in numbers.items() if value > NO_PROBABILITY}


def _refuse_other_ids(ids: Sequence[int], rollout: Rollout, tokenizer: Any, reader: str) -> None:
    """Refuse a response whose text is read as other tokens than those that were sampled."""
    own = rollout.token_ids
    if tuple(ids) == own:
        return
    place = next((n for n, (here, there) in enumerate(zip(own, ids, strict=False)) if here != there), len(own) - 1)
    here, there = (tokenizer.convert_ids_to_tokens(list(some[place : place + 1])) for some in (own, ids))
    raise ServedTeacherError(
        f"`teacher_url`: {reader} reads the text of response {rollout.rollout_id} as other tokens, at {place} as"
        f" {there} in place of {here}; a server is sent text: give --rollouts without this response"
    )
