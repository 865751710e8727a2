"""Checkpoint folders that are made once: whole or not at all, and never from something else unnoticed."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from records import RecordError
from records.files import TEMPORARY, write_json
from records.fingerprint import difference, plain

STAGE = "stage.json"
"""Beside the weights: what they were made from."""


def made(folder: Path, recipe: Mapping[str, Any], make: Callable[[Path], None]) -> bool:
    """Have `make` fill a folder unless it is there; return whether it was made now.

    The folder is filled under another name and renamed when it is whole, so that an interrupted stage begins again.

    Raises:
        RecordError: the folder was made by another recipe.
    """
    path, content = folder / STAGE, plain(recipe)
    if path.is_file():
        if (other := difference(json.loads(path.read_bytes()), content)) is not None:
            raise RecordError(
                f"`{path}` has `{other.field}` {other.left!r}, not {other.right!r}: remove `{folder}`, or choose"
                " another `out`"
            )
        return False
    part = folder.with_name(folder.name + TEMPORARY)
    for stale in (part, folder):
        shutil.rmtree(stale, ignore_errors=True)
    part.mkdir(parents=True)
    make(part)
    write_json(part / STAGE, content)
    part.rename(folder)
    return True
