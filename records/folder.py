"""The life of a record's folder: opened, filled shard by shard, finished once, read ever after.

A run that is killed leaves `record.json` with `complete: false` and the shards it wrote; the same command
continues there. `complete: true` is the last thing written, so a record that says so has all its tables.
"""

import shutil
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from records.errors import RecordError
from records.files import TEMPORARY, write_json, write_whole
from records.fingerprint import difference
from records.lock import NAME as LOCK
from records.lock import Lock
from records.reading import Measurement
from records.record_json import RECORD, opening, plain_header, read_record_json
from records.tables import TABLES, table_named
from records.writing import OpenRecord

if TYPE_CHECKING:
    import pandas as pd

SHARDS = "shards"
_PARQUET = ".parquet"


class ShardFolder(MutableMapping[str, bytes]):
    """A folder of shards by name; each is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> bytes:
        return self._path(name).read_bytes()

    def __setitem__(self, name: str, content: bytes) -> None:
        self._folder.mkdir(exist_ok=True)
        write_whole(self._path(name), lambda part: part.write_bytes(content))

    def __delitem__(self, name: str) -> None:
        self._path(name).unlink()

    def __contains__(self, name: object) -> bool:
        return self._path(str(name)).is_file()

    def __iter__(self) -> Iterator[str]:
        return (path.name.removesuffix(_PARQUET) for path in self._folder.glob(f"*{_PARQUET}"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{_PARQUET}"


class RecordWriter(OpenRecord):
    """A record in a folder that is being filled; made by `open_record`. The folder is locked until `close`."""

    def __init__(self, folder: Path, header: Mapping[str, Any], lock: Lock) -> None:
        super().__init__(header, ShardFolder(folder / SHARDS))
        self.path: Path = folder
        self._lock = lock

    def close(self) -> None:
        """Free the folder; what has been added stays, to be continued."""
        self._lock.release()

    def _kept(self, tables: Mapping[str, "pd.DataFrame"], content: Mapping[str, Any]) -> Measurement:
        for name, frame in tables.items():
            table_named(name).write(self.path, frame)
        shutil.rmtree(self.path / SHARDS, ignore_errors=True)
        write_json(self.path / RECORD, content)
        return Measurement(self.path, content, {})


def open_record(folder: str | Path, header: Mapping[str, Any], overwrite: bool = False) -> RecordWriter:
    """Begin a record in `folder`, or continue the one with the same header that was left incomplete there.

    Args:
        folder: made if missing; if it holds anything, that must be a record.
        header: what identifies the record, `HEADER` naming the fields it must have.
        overwrite: begin a new record, whatever record is there.

    Raises:
        RecordError: the folder holds something else, another record or a complete one, or cannot be written.
    """
    folder, header = Path(folder), plain_header(header)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder)
    except OSError as error:
        raise RecordError(f"cannot write `{folder}` ({error.strerror}): choose another `--out`") from error
    try:
        _prepare(folder, header, overwrite)
    except BaseException:
        lock.release()
        raise
    return RecordWriter(folder, header, lock)


def _prepare(folder: Path, header: Mapping[str, Any], overwrite: bool) -> None:
    content = read_record_json(folder)
    strangers = [path.name for path in folder.iterdir() if path.name not in (LOCK, RECORD + TEMPORARY)]
    if content is None and strangers:
        raise RecordError(f"`{folder}` holds {min(strangers)} but no record: choose another folder")
    if content is not None and not overwrite and _may_continue(folder, header, content):
        return
    _clear(folder)
    write_json(folder / RECORD, opening(header))


def _may_continue(folder: Path, header: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """Decide whether a record already begun is ours to continue; raise when it is another or complete."""
    if content["header"] is None:
        return False
    kind = "a complete" if content["complete"] else "an incomplete"
    other = difference(content["header"], header)
    if other is None and not content["complete"]:
        return True
    which = f" with `{other.field}` {other.left!r}, not {other.right!r}" if other else ""
    raise RecordError(f"`{folder}` holds {kind} record{which}: pass `overwrite`, or choose another folder")


def _clear(folder: Path) -> None:
    """Remove what a record holds, and nothing else: pictures and strangers stay.

    record.json says so first, so that a run killed in here leaves no old shard under a new header.
    """
    write_json(folder / RECORD, opening(None))
    shutil.rmtree(folder / SHARDS, ignore_errors=True)
    for path in folder.iterdir():
        if _belongs_to_record(path) and path.name not in (RECORD, LOCK):
            path.unlink()


def _belongs_to_record(path: Path) -> bool:
    own = {LOCK, RECORD, *(table.file for table in TABLES.values())}
    return path.name.removesuffix(TEMPORARY) in own or path.name == SHARDS
