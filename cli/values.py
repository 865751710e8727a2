"""Values of flags that no command can use, whatever the flag: numbers out of range, texts that are no text."""

import math
import re
from types import NoneType
from typing import Any, get_args

LARGEST = 2**53 - 1
"""Whole numbers beyond it are not exact in JSON."""
_BROKEN = re.compile("[\0\ud800-\udfff]")


def unusable(value: Any, kind: Any = Any) -> str | None:
    """Return what is wrong with the value of a flag, as a clause: "be finite, got inf: ..."; None if nothing is.

    kind: the type of the flag.
    """
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(unusable, value)), None)
    if value is None:
        has_none = kind is Any or kind is NoneType or NoneType in get_args(kind)
        return None if has_none else "have a value, got null: leave the flag out or give one"
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return f"be finite, got {value}: give a number"
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"lie within {-LARGEST} and {LARGEST}, got one of {len(str(abs(value)))} digits: give a smaller one"
    return broken_text(value) if isinstance(value, str) else None


def broken_text(text: str) -> str | None:
    """Return what is wrong with a text, as a clause; None if nothing is."""
    if (broken := _BROKEN.search(text)) is None:
        return None
    what = "the sign NUL" if broken[0] == "\0" else "bytes that are no UTF-8"
    return f"be text in UTF-8 without NUL, got {what} in {text!r:.80}: rename or mend it"
