r"""From a question, or a conversation, to chat messages whose image parts stand for pictures in order.

A picture stands where the text has `<image>`, or `<image 2>` for the second of the row; where a part of a message is a
picture; and before the first text of the user where neither is. Other spellings of a picture's place are refused, as
they would stay in the text view.

A conversation has messages with `role` and `content`, or `from` and `value`. A last turn of the assistant is no part of
the prompt: it is a response. What it has in a box (`\boxed{}`) is the answer of a row that states none.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cli.foreign_json import read_json, read_literal
from vlm.prompts.cells import PromptError, UnplacedPictureError, is_empty, refuse_halves

ROLES: Final = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
"""Who speaks, by the names that conversations have for it."""
CONVERSATIONS: Final = ("messages", "conversations")
"""Columns that hold no plain text."""
_TEXT, _PICTURE = ("text", "input_text", "output_text"), ("image", "image_url", "input_image")
_HOLDERS = ("image", "image_url", "url", "path", "base64", "data", "bytes")

_PLACE = re.compile(r"<image>|<\|?image[ _]?([0-9]+)\|?>", re.IGNORECASE)
_MARKER = re.compile(
    r"</?\|?[a-z0-9_ ]{0,40}(?<![a-z])(?:image|img|picture|pixel|video|vision|audio|media)[a-z0-9_ ]{0,40}/?\|?>"
    r"|<img\s[^>]*>|\[/?(?:IMG|IMAGE|VIDEO)(?:[_ ][A-Z0-9]+)*\]|!\[[^\]\n]*\]\([^)\n]+\)",
    re.IGNORECASE,
)
_WAY_OUT = "mend it, or add --skip-bad"
_RENDERED = re.compile(r"<\|(?:im_start|im_end|start_header_id|eot_id|user|assistant)\|>|<start_of_turn>|\[/INST\]")


@dataclass(frozen=True)
class Shown:
    """The place of a picture: of its own `entry`, of the row's picture of this `number`, or of the row's next.

    is_mark: whether it is a mark in a text.
    """

    entry: Any = None
    number: int | None = None
    is_mark: bool = False


@dataclass(frozen=True)
class Turn:
    """What one speaker says: texts and pictures."""

    role: str
    said: tuple[str | Shown, ...]

    @property
    def text(self) -> str:
        """The texts alone."""
        return "".join(each for each in self.said if isinstance(each, str))


def turns_of(value: Any, where: str, column: str) -> tuple[Turn, ...]:
    """Return the turns of a question or a conversation, texts as they are.

    Raises:
        PromptError: it is neither a text nor a list of messages, a part is neither text nor picture, or nobody asks.
    """
    value = _unwritten(value)
    if isinstance(value, str) and column in CONVERSATIONS:
        raise PromptError(f"`prompts`: {where}: `{column}` must be a list of messages, got the text {value!r:.60}")
    if isinstance(value, str):
        if _RENDERED.search(value):
            raise PromptError(
                f"`prompts`: {where}: `{column}` is rendered by a chat template already; give the text or the messages"
            )
        return (Turn("user", (value.strip(),)),)
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise PromptError(
            f"`prompts`: {where}: `{column}` must be a text or a list of messages, got {type(value).__name__}"
        )
    turns = tuple(_turn(message, f"{where}: `{column}`, message {n}") for n, message in enumerate(value))
    if not any(turn.role == "user" for turn in turns):
        raise PromptError(f"`prompts`: {where}: `{column}` must hold a message of role user, got none")
    return turns


def _unwritten(value: Any) -> Any:
    """A conversation that is written as JSON, or as Python writes it, as the list that it is."""
    if not isinstance(value, str) or not re.match(r"\s*\[\s*\{", value):
        return value
    for read in (read_json, read_literal):
        try:
            turns = read(value)
        except ValueError:
            continue
        if all(isinstance(each, dict) and each.keys() & {"role", "from"} for each in turns):
            return turns
    return value


def _turn(message: Any, where: str) -> Turn:
    if not isinstance(message, Mapping):
        raise PromptError(f"`prompts`: {where}: a message must have `role` and `content`, got {type(message).__name__}")
    role, content = (
        message.get(name) if message.get(name) is not None else message.get(other)
        for name, other in (("role", "from"), ("content", "value"))
    )
    if role is None or content is None:
        raise PromptError(
            f"`prompts`: {where}: a message must have `role` and `content`, or `from` and `value`,"
            f" got {sorted(message)}"
        )
    if str(role).lower() not in ROLES:
        raise PromptError(f"`prompts`: {where} must have a role among {', '.join(ROLES)}, got {role!r}")
    parts = [content] if isinstance(content, (str, Mapping)) else content
    if not isinstance(parts, Sequence):
        raise PromptError(f"`prompts`: {where} must have a text or parts as `content`, got {type(content).__name__}")
    said = [each for part in parts if part is not None for each in _said(part, where)]
    return Turn(ROLES[str(role).lower()], tuple(said))


def _said(part: Any, where: str) -> list[str | Shown]:
    """What a part of a message says; nothing if it is a text of null."""
    if isinstance(part, str):
        return [part]
    if not isinstance(part, Mapping):
        raise PromptError(f"`prompts`: {where} must have parts of type text or image, got {type(part).__name__}")
    kind = part.get("type") or ("text" if isinstance(part.get("text"), str) else None)
    if kind in _PICTURE:
        return [Shown(_entry(part))]
    text = part.get("text")
    if kind not in _TEXT or not isinstance(text, (str, type(None))):
        what = f"a part of type {kind!r}" if kind not in _TEXT else f"a text that is {type(text).__name__}"
        raise PromptError(f"`prompts`: {where} must have parts of type text or image, got {what}")
    return [] if text is None else [text]


def _entry(part: Mapping[str, Any]) -> Any:
    """The picture that a part holds itself; None if it stands for one of the row."""
    held = next((part[name] for name in _HOLDERS if not is_empty(part.get(name))), None)
    if isinstance(held, Mapping) and held.get("url") is not None:  # {"image_url": {"url": ...}}
        return held["url"]
    text = held if isinstance(held, str) else ""
    is_bare = bool(text) and part.get("base64") == text and not text.startswith("data:")
    return f"data:image/*;base64,{text}" if is_bare else held


def without_response(turns: Sequence[Turn]) -> tuple[tuple[Turn, ...], str]:
    """Return the turns up to the last question, and the assistant's response to it, empty if there is none."""
    if turns[-1].role != "assistant":
        return tuple(turns), ""
    return tuple(turns[:-1]), turns[-1].text.strip()


def with_options(turns: Sequence[Turn], lines: str) -> tuple[Turn, ...]:
    """Return the turns with the lines of a choice below the last question."""
    last = max(n for n, turn in enumerate(turns) if turn.role == "user")
    asked = turns[last]
    ended = asked.said[-1] if asked.said and isinstance(asked.said[-1], str) else ""
    before = asked.said[:-1] if ended else asked.said
    asked = Turn(asked.role, (*before, f"{ended}\n{lines}".strip()))
    return (*turns[:last], asked, *turns[last + 1 :])


def place_pictures(
    turns: Sequence[Turn], pictures: Mapping[int, Any], where: str
) -> tuple[tuple[Mapping[str, Any], ...], list[Any]]:
    """Return chat messages of text and image parts, and the pictures in the order of these parts.

    pictures: those of the row's columns, by number from 1.

    Raises:
        UnplacedPictureError: there are more places than pictures or fewer, or a text keeps a marker of a picture.
        PromptError: nothing is asked.
    """
    cut = [Turn(turn.role, _split(turn.said)) for turn in turns]
    places = [each for turn in cut for each in turn.said if isinstance(each, Shown)]
    if not places and pictures:
        first = next(n for n, turn in enumerate(cut) if turn.role == "user")
        places = [Shown(number=number) for number in sorted(pictures)]
        cut[first] = Turn("user", (*places, *cut[first].said))
    shown = _shown(places, pictures, where)
    if any(turn.role == "user" and not turn.said for turn in cut):
        raise PromptError(f"`prompts`: {where} must ask something, got a message of the user without text or picture")
    messages = tuple({"role": turn.role, "content": _parts(turn, where)} for turn in cut)
    return messages, shown


def _split(said: Sequence[str | Shown]) -> tuple[str | Shown, ...]:
    """Cut texts at the marks that stand for pictures; blanks round the whole of them are no part of it."""
    pieces: list[str | Shown] = []
    for each in said:
        if isinstance(each, Shown) or not _PLACE.search(each):
            pieces.append(each)
            continue
        begin = 0
        for place in _PLACE.finditer(each):
            pieces += [each[begin : place.start()], Shown(number=int(place[1]) if place[1] else None, is_mark=True)]
            begin = place.end()
        pieces.append(each[begin:])
    texts = [n for n, piece in enumerate(pieces) if isinstance(piece, str) and piece.strip()]
    if len(pieces) > len(said) and texts:
        pieces[texts[0]] = str(pieces[texts[0]]).lstrip()
        pieces[texts[-1]] = str(pieces[texts[-1]]).rstrip()
    return tuple(piece for piece in pieces if isinstance(piece, Shown) or piece.strip())


def _shown(places: Sequence[Shown], pictures: Mapping[int, Any], where: str) -> list[Any]:
    """The pictures in the order of their places."""
    open_ = [place for place in places if place.entry is None]
    numbers = [place.number for place in open_]
    if any(numbers):
        if {*numbers} != {*pictures}:
            marks = ", ".join("<image>" if number is None else f"<image {number}>" for number in numbers)
            held = ", ".join(map(str, sorted(pictures))) or "none"
            raise UnplacedPictureError(
                f"`prompts`: {where} has the markers {marks} but the images {held}: mend it, or add --skip-bad"
            )
    elif len(open_) != len(pictures):
        kind = "markers <image>" if any(place.is_mark for place in open_) else "image parts"
        raise UnplacedPictureError(
            f"`prompts`: {where} has {len(open_)} {kind} but {len(pictures)} images: mend it, or add --skip-bad"
        )
    following = iter(numbers if any(numbers) else sorted(pictures))
    return [pictures[next(following) or 0] if place.entry is None else place.entry for place in places]


def _parts(turn: Turn, where: str) -> list[dict[str, str]]:
    for each in turn.said:
        if isinstance(each, str):
            refuse_halves(each, f"{where}: the text")
        if isinstance(each, str) and (marker := _MARKER.search(each)):
            raise UnplacedPictureError(
                f"`prompts`: {where}: the text keeps {marker.group()!r}, which stands for a picture and would stay in"
                " the text view; write <image> for each picture of the row, take it out, or add --skip-bad"
            )
    return [{"type": "image"} if isinstance(each, Shown) else {"type": "text", "text": each} for each in turn.said]
