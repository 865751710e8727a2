"""Files that are written whole or not at all, and the lock of a folder that has one writer.

The system frees the lock of a process that dies, so none is ever stale.
"""

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from records.errors import RecordError

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


LOCK = "lock"


class Lock:
    """Hold `folder/lock`, with our process id in it, until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._descriptor: int | None = self._take()

    def _take(self) -> int:
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 32).decode() or "unknown"
                os.close(descriptor)
                folder = self.path.parent
                raise RecordError(
                    f"`{folder}` is being written by process {holder}: wait, or choose another `--out`"
                ) from None
            if self._is_ours(descriptor):
                os.truncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
                return descriptor
            os.close(descriptor)  # the last holder removed this file between our opening and locking it

    def _is_ours(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Remove the lock; a second call does nothing."""
        if self._descriptor is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None
