"""JSON, and literals of Python, that somebody else wrote: whatever is wrong with them is one kind of error."""

import ast
import json
import warnings
from collections.abc import Callable
from typing import Any

DEEPEST = 100
"""Lists and objects within one another that are read; code that follows them calls itself at each."""


def read_json(text: str | bytes, **hooks: Any) -> Any:
    """Return what JSON says.

    hooks: those of `json.loads`.

    Raises:
        ValueError: it is no JSON in UTF-8, or nested more than `DEEPEST` times; the message is one line.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    return _read(lambda: json.loads(text, **hooks), text)


def read_literal(text: str) -> Any:
    """Return what a literal of Python says: a list, a dict, a text or a number.

    Raises:
        ValueError: it is none, or nested more than `DEEPEST` times; the message is one line.
    """
    return _read(lambda: ast.literal_eval(text), text)


def _read(read: Callable[[], Any], text: str) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes in literals
            value = read()
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        if isinstance(error, (MemoryError, RecursionError)):
            raise ValueError("it is nested too deeply") from None
        raise ValueError(" ".join(str(error).split())) from None
    if text.count("[") + text.count("{") > DEEPEST and _is_deeper(value):
        raise ValueError(f"it is nested more than {DEEPEST} times")
    return value


def _is_deeper(value: Any) -> bool:
    layer = [value]
    for _ in range(DEEPEST):
        layer = [inner for outer in layer for inner in _inside(outer) if isinstance(inner, (list, tuple, dict))]
        if not layer:
            return False
    return True


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
