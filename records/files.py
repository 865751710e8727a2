"""Files that are written whole or not at all."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TEMPORARY = ".part"


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` fill a temporary neighbour, then put it in the place of `path` in one step."""
    part = path.with_name(path.name + TEMPORARY)
    write(part)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(part, path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with its fields in the order of `content`.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))
