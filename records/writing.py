"""Records that are being filled: shard by shard, then finished once.

`MemoryRecord` keeps everything in memory, `RecordWriter` in a folder; to a caller both are an `OpenRecord`.

A run that is killed leaves `record.json` with `complete: false` and the shards it wrote; the same command continues
there. `complete: true` is the last thing written, so a record that says so has all its tables. The shards are dropped
after it.

Several processes can fill one record: each makes the shards that it claims, and all read every shard. The main process
alone holds the folder, and finishes the record.
"""

import json
import shlex
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cli.errors import NotWritten
from records.errors import RecordError
from records.files import LOCK, TEMPORARY, Lock, file_sha256, hold, write_json
from records.fingerprint import difference, fingerprint
from records.reading import Measurement
from records.record_json import RECORD, closing, opening, plain_header, read_record_json, stated
from records.shards import OLD_SHARDS, SHARDS, ShardFiles, ShardFolder, ShardMemory, Shards
from records.tables import TABLES, table_named
from records.team import ALONE, Team

if TYPE_CHECKING:
    import pandas as pd


class OpenRecord(Shards, ABC):
    """A record that is being filled. As a context manager it is closed at the end.

    header: what identifies the record.
    path: the record's folder; None for a record in memory.
    """

    path: Path | None = None

    def __init__(self, header: Mapping[str, Any], files: ShardFiles, team: Team = ALONE) -> None:
        super().__init__(files, team=team)
        self.header = header
        self._finished: Measurement | None = None

    def finish(self, tables: Mapping[str, "pd.DataFrame"], notes: Mapping[str, Any]) -> None:
        """Check and keep the tables, mark the record complete and drop the shards.

        Args:
            tables: every table of the record by name, in the columns of `TABLES`.
            notes: how the run went (versions, threads, timings, counts); NaN is kept as null.

        Raises:
            RecordError: a table is unknown, or has wrong columns; nothing has been kept then.
        """
        for name, frame in tables.items():
            table_named(name).check(frame)
        self._team.share(b"")  # all have read the shards, which are dropped now
        self._finished = self._kept(tables, notes)
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
    def _kept(self, tables: Mapping[str, "pd.DataFrame"], notes: Mapping[str, Any]) -> Measurement:
        """Keep checked tables and what record.json says; return them as they are read back."""

    def _closing(
        self, tables: Mapping[str, "pd.DataFrame"], notes: Mapping[str, Any], hashes: Mapping[str, str]
    ) -> Any:
        return closing(self.header, notes, {name: len(frame) for name, frame in tables.items()}, hashes)


class MemoryRecord(OpenRecord):
    """A record in memory: nothing is written, and a run that stops leaves nothing."""

    def __init__(self, header: Mapping[str, Any], team: Team = ALONE) -> None:
        super().__init__(plain_header(header), ShardMemory(), team)
        team.begin()

    def _kept(self, tables: Mapping[str, "pd.DataFrame"], notes: Mapping[str, Any]) -> Measurement:
        self._files.clear()
        frames = {name: table_named(name).to_arrow(frame).to_pandas() for name, frame in tables.items()}
        return Measurement(None, self._closing(tables, notes, {}), frames)


class RecordWriter(OpenRecord):
    """A record in a folder that is being filled; made by `open_record`.

    lock: holds the folder until `close`; None in a process that fills the record of another.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any], lock: Lock | None, team: Team = ALONE) -> None:
        files = ShardFolder(folder / SHARDS, fingerprint(header))
        if lock is not None:
            files.drop_damaged()
        files.before = frozenset(json.loads(team.share(json.dumps(sorted(files.before)).encode())[0]))
        super().__init__(header, files, team)
        self.path: Path = folder
        self._lock = lock

    def close(self) -> None:
        """Free the folder; what has been added stays, to be continued."""
        if self._lock is not None:
            self._lock.release()

    def _kept(self, tables: Mapping[str, "pd.DataFrame"], notes: Mapping[str, Any]) -> Measurement:
        if self._lock is not None:
            for name, frame in tables.items():
                table_named(name).write(self.path, frame)
            hashes = {name: file_sha256(self.path / table_named(name).file) for name in tables}
            write_json(self.path / RECORD, self._closing(tables, notes, hashes))
            shutil.rmtree(self.path / SHARDS, ignore_errors=True)
        self._team.share(b"")
        written = read_record_json(self.path)
        assert written is not None
        return Measurement(self.path, written, {})


def open_record(
    folder: str | Path, header: Mapping[str, Any], overwrite: bool = False, team: Team = ALONE
) -> RecordWriter:
    """Begin a record in `folder`, or continue the one with the same header that was left incomplete there.

    Args:
        folder: made if missing; if it holds anything, that must be a record.
        header: what identifies the record, `HEADER` naming the fields it must have.
        overwrite: begin a new record, whatever record is there.
        team: the processes that fill the record; each opens it, and the main one holds the folder.

    Raises:
        RecordError: the folder holds something else, another record or a complete one, or is no folder.
        NotWritten: the system refuses to write there.
    """
    folder, header = Path(folder), plain_header(header)
    team.begin()
    if team.rank:
        return RecordWriter(folder, header, None, team)
    lock = hold(folder)
    try:
        _prepare(folder, header, overwrite)
        return RecordWriter(folder, header, lock, team)
    except BaseException:
        lock.release()
        raise


def drop_leftovers(folder: Path) -> None:
    """Remove the shards of a complete record, which a run that was killed as it ended has left."""
    if not (folder / SHARDS).exists():
        return
    with suppress(RecordError, NotWritten):  # whoever holds the folder is writing another record
        lock = hold(folder)
        try:
            content = read_record_json(folder)
            if content is not None and content["complete"]:
                shutil.rmtree(folder / SHARDS, ignore_errors=True)
        finally:
            lock.release()


def _prepare(folder: Path, header: Mapping[str, Any], overwrite: bool) -> None:
    content = stated(folder) if overwrite else read_record_json(folder)
    strangers = [path.name for path in folder.iterdir() if path.name not in (LOCK, RECORD + TEMPORARY)]
    if content is None and strangers:
        raise RecordError(f"`{folder}` holds {min(strangers)} but no record: choose another folder")
    if content is not None and not overwrite and _may_continue(folder, header, content):
        shutil.rmtree(folder / OLD_SHARDS, ignore_errors=True)
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
    draw = "" if other or not content["complete"] else f"draw it with `python -m figures {shlex.quote(str(folder))}`, "
    raise RecordError(f"`{folder}` holds {kind} record{which}: {draw}pass `overwrite`, or choose another folder")


def _clear(folder: Path) -> None:
    """Remove what a record holds, and nothing else: pictures and strangers stay.

    record.json says so first, so that a run killed in here leaves no old shard under a new header.
    """
    write_json(folder / RECORD, opening(None))
    for shards in (SHARDS, OLD_SHARDS):
        shutil.rmtree(folder / shards, ignore_errors=True)
    for path in folder.iterdir():
        if _belongs_to_record(path) and path.name not in (RECORD, LOCK):
            path.unlink()


def _belongs_to_record(path: Path) -> bool:
    own = {LOCK, RECORD, *(table.file for table in TABLES.values())}
    return path.name.removesuffix(TEMPORARY) in own or path.name in (SHARDS, OLD_SHARDS)
