"""Settings as canonical JSON: two are the same exactly when their fingerprints are."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np

DIGITS = 12  # 48 bits of sha256: a collision among a million records has probability 0.002


@dataclass(frozen=True)
class Absent:
    """Stands for the value of a field that one side does not have."""

    def __repr__(self) -> str:
        return "absent"


@dataclass(frozen=True)
class Difference:
    """The first field, in alphabetical order, in which two settings differ."""

    field: str  # dotted, `settings.seed`; a list's entries are counted from 0
    left: Any
    right: Any


def plain(value: Any, *, gaps: bool = False) -> Any:
    """Turn mappings, sequences, paths and NumPy scalars into what JSON holds, and refuse the rest.

    JSON has no NaN and no infinity: with `gaps` they become null, without they are refused.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(entry, gaps=gaps) for key, entry in value.items()}
    if isinstance(value, PathLike):
        return fspath(value)
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float) and (gaps or math.isfinite(value)):
        return value if math.isfinite(value) else None
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain(entry, gaps=gaps) for entry in value]
    raise ValueError(f"{value!r} ({type(value).__name__}) has no place in JSON: write a finite number or text")


def canonical(settings: Any) -> str:
    """Write settings as JSON with sorted keys and no spaces."""
    return json.dumps(plain(settings), sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Name settings by the first 12 hexadecimal digits of the sha256 of their canonical JSON.

    >>> fingerprint({"seed": 0, "bins": 10}) == fingerprint({"bins": 10, "seed": 0})
    True
    >>> fingerprint({"seed": 0}) == fingerprint({"seed": 0.0})
    False
    """
    return hashlib.sha256(canonical(settings).encode()).hexdigest()[:DIGITS]


def _natural_order(key: str) -> tuple[int, str]:
    return (len(key), key) if key.isdigit() else (0, key)


def _differences(left: Any, right: Any, field: str) -> Iterator[Difference]:
    if isinstance(left, list) and isinstance(right, list):
        left, right = ({str(i): entry for i, entry in enumerate(side)} for side in (left, right))
    if not (isinstance(left, dict) and isinstance(right, dict)):
        if isinstance(left, Absent) or isinstance(right, Absent) or canonical(left) != canonical(right):
            yield Difference(field, left, right)
        return
    for key in sorted(left.keys() | right.keys(), key=_natural_order):
        path = f"{field}.{key}" if field else key
        yield from _differences(left.get(key, Absent()), right.get(key, Absent()), path)


def difference(left: Mapping[str, Any], right: Mapping[str, Any]) -> Difference | None:
    """Find the first field in which two settings differ, with both values; None when they are the same."""
    return next(_differences(plain(left), plain(right), ""), None)


def first_difference(left: Mapping[str, Any], right: Mapping[str, Any]) -> str | None:
    """Name the first field in which two settings differ; None when they are the same.

    >>> first_difference({"settings": {"seed": 0, "bins": 10}}, {"settings": {"seed": 1, "bins": 10}})
    'settings.seed'
    """
    first = difference(left, right)
    return first.field if first else None
