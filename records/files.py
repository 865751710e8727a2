"""Files that are written whole or not at all, and the lock of a folder that has one writer.

The system frees the lock of a process that dies, so none is ever stale.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cli import foreign_json
from cli.errors import NotWritten
from cli.refused_writes import reason_not_written
from records.errors import RecordError

TEMPORARY = ".part"
_ANOTHER_PLACE = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOENT}
"""Why a folder cannot be made, where only another name helps."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into one line.

    Raises:
        NotWritten: the message names the path and the reason.
    """
    try:
        yield
    except Exception as error:
        reason = reason_not_written(error)
        if reason is None and isinstance(error, OSError):
            reason = error.strerror or str(error).partition("\n")[0]
        if reason is None:
            raise
        raise NotWritten(f"cannot write `{path}` ({reason}): mend that and run the same command again") from None


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` fill a temporary neighbour, then put it in the place of `path` in one step.

    Raises:
        NotWritten: the system refuses; nothing of the new content stays.
    """
    part = path.with_name(path.name + TEMPORARY)
    with writing(path):
        try:
            write(part)
            with part.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise


def write_page(path: Path, text: str) -> None:
    """Write a text whole, in UTF-8; its folder is made if missing.

    Raises:
        NotWritten: the system refuses; nothing of the new content stays.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def json_text(content: Any, indent: int | None = None) -> str:
    """Return JSON that UTF-8 can hold: readable, or in ASCII where a text has half of a surrogate pair.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(content, indent=indent, allow_nan=False)
    return text


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with its fields in the order of `content`.

    Raises:
        ValueError: a number is not finite.
        NotWritten: the system refuses.
    """
    text = json_text(content, indent=2) + "\n"
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> Any:
    """Read JSON as strictly as we write it; None if the file holds none.

    Numbers that are not finite and fields that stand twice are no JSON of ours.

    Raises:
        FileNotFoundError, PermissionError: the file cannot be read.
    """
    try:
        return parse_json(path.read_bytes())
    except ValueError:
        return None


def parse_json(content: bytes) -> Any:
    """Parse JSON in UTF-8; numbers that are not finite and fields that stand twice are refused.

    Raises:
        ValueError: it is no such JSON.
    """
    return foreign_json.read_json(content, object_pairs_hook=_without_twins, parse_constant=_refuse_constant)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a field stands twice")
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def hold(folder: Path) -> "Lock":
    """Make a folder if it is missing and hold it.

    Raises:
        RecordError: another process holds it, or no folder can stand there.
        NotWritten: the system refuses to write there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Lock(folder)
    except OSError as error:
        if error.errno in _ANOTHER_PLACE:
            raise RecordError(f"cannot write `{folder}` ({error.strerror}): choose another `--out`") from None
        raise NotWritten(
            f"cannot write `{folder}` ({error.strerror}): mend that and run the same command again, or choose another"
            " `--out`"
        ) from None


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
                holder = os.read(descriptor, 32).decode(errors="replace") or "unknown"
                os.close(descriptor)
                folder = self.path.parent
                raise RecordError(
                    f"`{folder}` is being written by process {holder}: wait, or choose another `--out`"
                ) from None
            if self._is_ours(descriptor):
                return self._signed(descriptor)
            os.close(descriptor)  # the last holder removed this file between our opening and locking it

    def _signed(self, descriptor: int) -> int:
        """Write our process id into the file; without room for it the folder is free again."""
        try:
            os.truncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        except OSError:
            self.path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return descriptor

    def _is_ours(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Remove the lock; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, None  # first, as a signal may come in between
        if descriptor is not None:
            with suppress(OSError):  # the folder may have become read-only; the system frees the lock all the same
                self.path.unlink(missing_ok=True)
            os.close(descriptor)
