"""Records that are being filled: shard by shard, then finished once.

`MemoryRecord` keeps everything in memory, `RecordWriter` in a folder; to a caller both are an `OpenRecord`.

A run that is killed leaves `record.json` with `complete: false` and the shards it wrote; the same command continues
there. `complete: true` is the last thing written, so a record that says so has all its tables.
"""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from records.errors import RecordError
from records.files import LOCK, TEMPORARY, Lock, write_json, write_whole
from records.fingerprint import difference
from records.gathering import joined
from records.reading import Measurement
from records.record_json import RECORD, closing, opening, plain_header, read_record_json
from records.tables import TABLES, table_named

if TYPE_CHECKING:
    import pandas as pd


class Shards:
    """Intermediate tables of a record, a shard at a time.

    files: what holds the shards, as Parquet, by name.
    part: tells the shards of one of several measurements apart from those of the others.
    """

    def __init__(self, files: MutableMapping[str, bytes], part: str = "") -> None:
        self._files = files
        self._part = part

    def has(self, table: str, shard_index: int) -> bool:
        """Say whether a shard has been added, by this run or one that it continues."""
        return self._name(table, shard_index) in self._files

    def add(self, table: str, shard_index: int, frame: "pd.DataFrame") -> None:
        """Keep a shard, whole or not at all. Its columns are the probe's own business until `finish`."""
        self._files[self._name(table, shard_index)] = frame.to_parquet(index=False)

    def part(self, number: int) -> "Shards":
        """Return the shards of one of several measurements that the record joins, apart from those of the others."""
        return Shards(self._files, f"{self._part}@{number}")

    def gather(self, table: str, repeated: Sequence[str] = ()) -> "pd.DataFrame":
        """Return all shards of a table, one below the other in the order of their index.

        repeated: columns of text that repeats; they are returned as categories.

        Raises:
            RecordError: no shard of the table has been added.
        """
        names = sorted(name for name in self._files if name.rpartition("-")[0] == table + self._part)
        if not names:
            raise RecordError(f"there are no shards of `{table}`: add one before gathering")
        return joined((self._files[name] for name in names), repeated)

    def _name(self, table: str, shard_index: int) -> str:
        return f"{table}{self._part}-{shard_index:06d}"


class OpenRecord(Shards, ABC):
    """A record that is being filled. As a context manager it is closed at the end.

    header: what identifies the record.
    path: the record's folder; None for a record in memory.
    """

    path: Path | None = None

    def __init__(self, header: Mapping[str, Any], files: MutableMapping[str, bytes]) -> None:
        super().__init__(files)
        self.header = header
        self._finished: Measurement | None = None

    def finish(self, tables: Mapping[str, "pd.DataFrame"], notes: Mapping[str, Any]) -> None:
        """Check and keep the tables, drop the shards and, last of all, mark the record complete.

        Args:
            tables: every table of the record by name, in the columns of `TABLES`.
            notes: how the run went (versions, threads, timings, counts); NaN is kept as null.

        Raises:
            RecordError: a table is unknown, or has wrong columns; nothing has been kept then.
        """
        for name, frame in tables.items():
            table_named(name).check(frame)
        content = closing(self.header, notes, {name: len(frame) for name, frame in tables.items()})
        self._finished = self._kept(tables, content)
        self.close()

    def measurement(self) -> Measurement:
        """Return the complete record, as it is read back.

        Raises:
            RecordError: the record is not finished.
        """
        if self._finished is None:
            raise RecordError("the record is incomplete: call `finish` before `measurement`")
        return self._finished

    def close(self) -> None:
        """Let go of what the open record holds; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _kept(self, tables: Mapping[str, "pd.DataFrame"], content: Mapping[str, Any]) -> Measurement:
        """Keep checked tables and what record.json says; return them as they are read back."""


class MemoryRecord(OpenRecord):
    """A record in memory: nothing is written, and a run that stops leaves nothing."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        super().__init__(plain_header(header), {})

    def _kept(self, tables: Mapping[str, "pd.DataFrame"], content: Mapping[str, Any]) -> Measurement:
        self._files.clear()
        frames = {name: table_named(name).to_arrow(frame).to_pandas() for name, frame in tables.items()}
        return Measurement(None, content, frames)


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
