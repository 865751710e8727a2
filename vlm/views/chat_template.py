"""Messages as text, by a checkpoint's own chat template, and in one line what the template does not take.

Content is handed on as a list of parts. A template that spells such a list, or fails on it, gets the parts joined as
plain text, with the processor's own token where a picture stands.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import ProcessorMixin

from cli.errors import UserError
from cli.memory_limit import OutOfMemory, taking_at_most
from cli.time_limit import OutOfTime, within
from vlm.pictures.colours import note

Message = Mapping[str, Any]

_SPELT_LIST = re.compile(r"""\{['"]type['"]: ?['"]""")
LONGEST_S = 10.0
"""Of rendering one prompt: a template that takes longer does not end."""
MOST_BYTES = 500_000_000
"""Of rendering one prompt: a template that takes more would fill the memory."""
_MOST_SIGNS, _TIMES = 1_000_000, 10
"""A prompt is at most so many characters, and so many times its messages, long."""


class TemplateError(UserError):
    """Messages that a chat template does not take; the message is one line."""


def render_messages(
    messages: Sequence[Message], n_pictures: int, processor: ProcessorMixin, template_args: Mapping[str, Any]
) -> str:
    """Return messages as text, up to where the response begins.

    Args:
        messages: their content is text, or a list of parts of type text or image.
        n_pictures: number of pictures that image parts stand for.
        template_args: what the template is handed besides.

    Raises:
        TemplateError: a part that is neither text nor a picture, another number of pictures, an end that asks for no
            response, or messages that the template refuses or leaves out.
    """
    listed = [{**message, "content": parts_of(message)} for message in messages]
    _check_parts(listed, n_pictures)
    try:
        text = _apply(listed, processor, template_args)
        failure = None
    except (OutOfTime, OutOfMemory) as error:
        raise _refusal(error) from None
    except Exception as error:  # a template is a program, and raises what it will
        text, failure = "", error
    if failure is not None or _spells_lists(text, listed):
        text = _apply_plain(listed, processor, template_args, failure)
    _check_nothing_lost(listed, text)
    return text


def parts_of(message: Message) -> list[Mapping[str, Any]]:
    """Return the content of a message as a list of parts."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())


def _check_parts(messages: Sequence[Message], n_pictures: int) -> None:
    parts = [part for message in messages for part in message["content"]]
    if others := sorted({str(part["type"]) for part in parts} - {"text", "image"}):
        raise TemplateError(f"holds a part of type {others[0]}: only text and pictures are read, leave it out")
    marked = sum(part["type"] == "image" for part in parts)
    if marked != n_pictures:
        raise TemplateError(f"has {marked} image parts but {n_pictures} pictures: give one part for each")
    if not messages or messages[-1]["role"] in ("assistant", "system"):
        last = f"of role {messages[-1]['role']}" if messages else "none"
        raise TemplateError(f"must end in a message that asks for a response, got {last}: end it with role user")


def _apply(messages: Sequence[Message], processor: ProcessorMixin, template_args: Mapping[str, Any]) -> str:
    handed = [dict(message) for message in messages]
    with within(LONGEST_S), taking_at_most(MOST_BYTES):
        text = processor.apply_chat_template(handed, add_generation_prompt=True, tokenize=False, **template_args)
    if not isinstance(text, str):
        raise ValueError(f"it makes {type(text).__name__} of a prompt, not text")
    text.encode()  # no half of a character
    _check_length(text, messages)
    return text


def _check_length(text: str, messages: Sequence[Message]) -> None:
    """Refuse a text that only a template without measure makes: cut into tokens, it would fill the memory."""
    said = sum(len(part["text"]) for message in messages for part in parts_of(message) if part["type"] == "text")
    if len(text) > (most := _MOST_SIGNS + _TIMES * said):
        raise ValueError(f"it makes {len(text)} characters of {said}, more than {most}")


def _apply_plain(
    messages: Sequence[Message],
    processor: ProcessorMixin,
    template_args: Mapping[str, Any],
    failure: Exception | None,
) -> str:
    """Render with joined text; `failure` is why lists did not do, None where they were spelt."""
    token = getattr(processor, "image_token", None)
    has_pictures = any(part["type"] == "image" for message in messages for part in message["content"])
    if has_pictures and not isinstance(token, str):
        raise _refusal(failure, "it takes plain text, and the processor names no token for a picture")
    plain = [{**message, "content": _joined(message["content"], token or "")} for message in messages]
    try:
        text = _apply(plain, processor, template_args)
    except Exception as error:
        raise _refusal(failure or error) from None
    if has_pictures:
        note(f"the chat template takes plain text: a picture is written as {token}")
    return text


def _joined(parts: Sequence[Mapping[str, Any]], token: str) -> str:
    return "".join(part["text"] if part["type"] == "text" else f"{token}\n" for part in parts)


def _spells_lists(text: str, messages: Sequence[Message]) -> bool:
    """Whether a list of parts stands in the text as Python or JSON spells it, and not because a message says so."""
    said = [part["text"] for message in messages for part in message["content"] if part["type"] == "text"]
    return len(_SPELT_LIST.findall(text)) > sum(len(_SPELT_LIST.findall(words)) for words in said)


def _check_nothing_lost(messages: Sequence[Message], text: str) -> None:
    """Refuse a template that passes over a text. Answers of earlier turns may lose their reasoning, as templates do."""
    for number, message in enumerate(messages):
        words = [part["text"].strip() for part in message["content"] if part["type"] == "text"]
        if message["role"] != "assistant" and not all(spoken in text for spoken in words):
            raise TemplateError(
                f"has a message that the chat template leaves out or changes, number {number} of role"
                f" {message['role']}: leave it out, or move its text into a message of role user"
            )


def _refusal(failure: Exception | None, reason: str = "") -> TemplateError:
    said = reason or (str(failure).strip().splitlines() or [type(failure).__name__])[0]
    return TemplateError(
        f"is refused by the chat template ({said}): change the messages, --system-prompt or --chat-template-args"
    )
