"""Which column of a row is what: the usual schemas, `--columns`, and columns of pictures that must not stay unread.

A role is filled by the first of its columns that holds something. The question, and the pictures, may stand in one
column alone: where two could be meant, the row is refused. A dotted name looks into a dict.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from string import ascii_uppercase
from typing import Any, Final

from PIL import Image

from cli.errors import OptionError
from vlm.prompts.cells import PromptError, as_list, is_empty

Row = Mapping[str, Any]

QUESTIONS: Final = ("problem", "question", "prompt", "messages", "conversations")
"""Columns with the question: a text, or a conversation."""
PICTURES: Final = ("images", "image", "image_paths", "image_path", "decoded_image")
"""Columns with one or several pictures, beside `image_1`, `image_2` and so on, which belong together."""
USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "options": ("options", "choices"),
    "answer": ("answer", "answers", "final_answer", "answerKey", "ground_truth", "reward_model.ground_truth"),
    "id": ("id",),
    "task": ("task", "data_source"),
    "dependency": ("dependency",),
    "template_args": ("chat_template_kwargs",),
}
"""By role, the columns that fill it, the first that holds something."""
ROLES: Final = ("problem", "images", *USUAL, "ignore")
SEVERAL: Final = ("images", "ignore")
"""Roles of several columns, joined by +."""

_NUMBERED = re.compile(r"image_?([0-9]+)")
_NAMES_PICTURE = re.compile(
    r"(?!(?:has|is|num|n|no|with)_)(?:\w*_)?(?:image|img|picture|photo)s?(?:_?[0-9]+)?"
    r"(?:_(?:path|file|url|uri|name|filename|bytes|base64|b64|data)s?)?",
    re.IGNORECASE,
)
_NUMBERS_PICTURE = re.compile(r"(?:\w*_)?(?:image|img|picture|photo)_?ids?", re.IGNORECASE)
_VIDEO = re.compile(r"(?!(?:has|is|num|n|no|with)_)(?:\w*_)?videos?(?:_(?:path|file|url)s?)?", re.IGNORECASE)
_PATH = re.compile(
    r"(?:[^\s]+ ){0,3}[^\s]+\.(?:png|jpe?g|jfif|gif|bmp|webp|tiff?|avif|heic|heif|ppm)(?:\?\S*)?", re.IGNORECASE
)
_ENCODED = ("data:image", "iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR")
_HEADS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")


@dataclass(frozen=True)
class Columns:
    """Columns by role; a role that is missing is filled by the usual ones."""

    by_role: Mapping[str, tuple[str, ...]]

    def named(self, role: str) -> tuple[str, ...]:
        """Return the columns that were named for a role."""
        return self.by_role.get(role, ())


def parse_columns(text: str | None) -> Columns:
    """Return what `--columns` says, such as `problem=question,images=image_1+image_2,ignore=thumbnail`.

    Raises:
        OptionError: it does not have that form, a role is unknown or named twice, or it has several columns.
    """
    by_role: dict[str, tuple[str, ...]] = {}
    for entry in [] if text is None else text.split(","):
        role, _, names = (part.strip() for part in entry.partition("="))
        columns = tuple(name.strip() for name in names.split("+"))
        if not role or not all(columns):
            raise OptionError(f"`columns` must be like problem=question,images=image, got {entry!r} in {text!r}")
        if role not in ROLES:
            raise OptionError(f"`columns` must name roles among {', '.join(ROLES)}, got {role!r} in {text!r}")
        if role in by_role or (len(columns) > 1 and role not in SEVERAL):
            raise OptionError(f"`columns` must name one column for {role}, got {text!r}; only images=A+B takes several")
        by_role[role] = columns
    return Columns(by_role)


def cell(row: Row, column: str) -> Any:
    """Return what a row has in a column; a dotted name looks into dicts; None if it is not there."""
    if column in row:
        return row[column]
    outer, _, inner = column.partition(".")
    return cell(row[outer], inner) if inner and isinstance(row.get(outer), Mapping) else None


def columns_of(row: Row, columns: Columns, where: str) -> dict[str, tuple[str, ...]]:
    """Return the columns of a row that are read, by role; roles that nothing fills are missing.

    Raises:
        PromptError: no column holds the question, two could, or a column holds a picture and is not read.
    """
    ignored = columns.named("ignore")
    visible = {name: value for name, value in row.items() if name not in ignored}
    read = {"problem": _question(visible, columns, where), "images": _pictures(visible, columns, where)}
    for role, usual in USUAL.items():
        names = columns.named(role) or usual
        read[role] = tuple(name for name in names if name not in ignored and not is_empty(cell(visible, name)))[:1]
    if not read["options"] and not columns.named("options"):
        read["options"] = _lettered(visible)
    read = {role: names for role, names in read.items() if names}
    _refuse_unread_picture(visible, read, where)
    return read


def _lettered(row: Row) -> tuple[str, ...]:
    """The columns `A`, `B` and so on of a choice, if a row has them; their names are the letters."""
    held = tuple(takewhile(lambda name: not is_empty(row.get(name)), ascii_uppercase))
    return held if len(held) > 1 else ()


def _question(row: Row, columns: Columns, where: str) -> tuple[str, ...]:
    named = columns.named("problem") or QUESTIONS
    held = [name for name in named if not is_empty(cell(row, name))]
    if not held:
        wanted = f"`{named[0]}`" if columns.named("problem") else "`problem` or `prompt`, or another that is usual"
        raise PromptError(
            f"`prompts`: {where} must have a column {wanted}, got {sorted(row)}; say which holds the question with"
            " --columns problem=COLUMN"
        )
    if len(held) > 1 and any(cell(row, name) != cell(row, held[0]) for name in held[1:]):
        raise PromptError(
            f"`prompts`: {where}: {' and '.join(f'`{name}`' for name in held)} could each be the question;"
            f" say which with --columns problem={held[0]}"
        )
    return (held[0],)


def _pictures(row: Row, columns: Columns, where: str) -> tuple[str, ...]:
    """The columns of pictures; `image` beside `decoded_image` names the same picture."""
    if named := columns.named("images"):
        return tuple(name for name in named if not is_empty(cell(row, name)))
    numbered = sorted(
        (name for name in row if _NUMBERED.fullmatch(name) and not is_empty(row[name])), key=picture_number
    )
    held = [(name,) for name in PICTURES if not is_empty(row.get(name))] + ([tuple(numbered)] if numbered else [])
    if held == [("image",), ("decoded_image",)] and isinstance(row["image"], str):
        return ("decoded_image", "image")
    if len(held) > 1:
        first, other = held[0][0], held[1][0]
        raise PromptError(
            f"`prompts`: {where}: `{first}` and `{other}` both hold pictures; say which are read with"
            f" --columns images={first},ignore={other}, or with images={first}+{other}"
        )
    return held[0] if held else ()


def picture_number(column: str) -> int:
    """Return the number of a column such as `image_3`; 0 of others."""
    numbered = _NUMBERED.fullmatch(column)
    return int(numbered[1]) if numbered else 0


def _refuse_unread_picture(row: Row, read: Mapping[str, Iterable[str]], where: str) -> None:
    for name, value in row.items():
        if _VIDEO.fullmatch(name) and isinstance(value, (str, bytes, list, tuple, Mapping)) and not is_empty(value):
            raise PromptError(
                f"`prompts`: {where}: column `{name}` holds or names a video, and only pictures are read; leave the row"
                f" out, or its video with --columns ignore={name}"
            )
    taken = {name.partition(".")[0] if name not in row else name for names in read.values() for name in names}
    for name, value in row.items():
        if name not in taken and not is_empty(value) and _is_picture(name, value, "images" in read):
            raise PromptError(
                f"`prompts`: {where}: column `{name}` holds or names a picture and is not read; read it with"
                f" --columns images={name}, or leave it out with --columns ignore={name}"
            )


def _is_picture(name: str, value: Any, has_pictures: bool) -> bool:
    if _NAMES_PICTURE.fullmatch(name) and isinstance(value, (str, bytes, list, tuple, Mapping, Image.Image)):
        return True
    return holds_picture(value) or (not has_pictures and bool(_NUMBERS_PICTURE.fullmatch(name)))


def holds_picture(value: Any) -> bool:
    """Whether a cell, or something within it, is a picture or the path, URI or base64 text of one."""
    if isinstance(value, str):
        return value.startswith(_ENCODED) or bool(len(value) < 400 and _PATH.fullmatch(value.strip()))
    if isinstance(value, bytes):
        return value.startswith(_HEADS) or value[8:12] == b"WEBP" or value[4:8] == b"ftyp"
    if isinstance(value, Mapping):
        return any(holds_picture(each) for each in value.values())
    if isinstance(value, (list, tuple)):
        return any(holds_picture(each) for each in as_list(value))
    return isinstance(value, Image.Image)
