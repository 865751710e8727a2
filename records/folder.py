"""The life of a record's folder: opened, filled shard by shard, finished once, read ever after.

A run that is killed leaves `record.json` with `complete: false` and the shards it wrote; the same command
continues there. `complete: true` is the last thing written, so a record that says so has all its tables.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pandas as pd

from records.files import TEMPORARY, read_table, table_path, write_json, write_shard, write_table
from records.fingerprint import difference, fingerprint, plain
from records.lock import NAME as LOCK
from records.lock import Lock
from records.measurement import HEADER, SCHEMA_VERSION, TABLES, RecordError, check, schema_of, written_by

RECORD = "record.json"
SHARDS = "shards"


@dataclass(frozen=True)
class Measurement:
    """A complete record as read back."""

    path: Path
    record: Mapping[str, Any]  # what record.json says: header, fingerprint, notes, rows a table
    tables: Mapping[str, pd.DataFrame] = field(repr=False)  # those asked for

    @property
    def header(self) -> Mapping[str, Any]:
        """What identifies the record: `probe`, `pair`, `weights`, `settings`."""
        return self.record["header"]


class Shards:
    """Intermediate tables of a record, a shard at a time; those of a `part` have names of their own."""

    def __init__(self, folder: Path, part: str = "") -> None:
        self.path = folder
        self._part = part

    def _shard(self, table: str, shard_index: int) -> Path:
        return self.path / SHARDS / f"{table}{self._part}-{shard_index:06d}.parquet"

    def has(self, table: str, shard_index: int) -> bool:
        """Say whether a shard has been added, by this run or one that it continues."""
        return self._shard(table, shard_index).is_file()

    def add(self, table: str, shard_index: int, frame: pd.DataFrame) -> None:
        """Write a shard, whole or not at all. Its columns are the probe's own business until `finish`."""
        (self.path / SHARDS).mkdir(exist_ok=True)
        write_shard(self._shard(table, shard_index), frame)

    def gather(self, table: str) -> pd.DataFrame:
        """Read all shards of a table, one below the other in the order of their index."""
        shards = sorted((self.path / SHARDS).glob(f"{table}{self._part}-[0-9]*.parquet"))
        if not shards:
            raise RecordError(f"`{self.path}` has no shards of `{table}`: add one before gathering")
        return pd.concat([pd.read_parquet(shard) for shard in shards], ignore_index=True)


class RecordWriter(Shards):
    """Fill a record; made by `open_record`. As a context manager it frees the folder at the end."""

    def __init__(self, folder: Path, header: Mapping[str, Any], lock: Lock) -> None:
        super().__init__(folder)
        self.header = header
        self._lock = lock

    def part(self, number: int) -> Shards:
        """The shards of one of several measurements that the record joins, apart from those of the others."""
        return Shards(self.path, f"@{number}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the folder; what has been added stays, to be continued."""
        self._lock.release()

    def finish(self, tables: Mapping[str, pd.DataFrame], notes: Mapping[str, Any]) -> None:
        """Check and write the tables, drop the shards and, last of all, mark the record complete.

        Args:
            tables: every table of the record by name, in the columns of `TABLES`.
            notes: how the run went (versions, threads, timings, counts); NaN is written as null.
        """
        for table, frame in tables.items():
            check(table, frame)
        rows = {table: len(frame) for table, frame in tables.items()}
        opening = _opening(self.header)
        del opening["complete"]  # to stand last in the file
        closing = {"notes": plain(notes, gaps=True), "tables": rows, "complete": True}
        for table, frame in tables.items():
            write_table(self.path, table, frame)
        shutil.rmtree(self.path / SHARDS, ignore_errors=True)
        write_json(self.path / RECORD, opening | closing)
        self.close()


def _opening(header: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return record.json as a run begins; without a header it says that the folder is being cleared."""
    name = None if header is None else fingerprint(header)
    return {"schema_version": SCHEMA_VERSION, "fingerprint": name, "header": header, "complete": False}


def _belongs_to_record(path: Path) -> bool:
    own = {LOCK, RECORD, *(table_path(Path(), table).name for table in TABLES)}
    return path.name.removesuffix(TEMPORARY) in own or path.name == SHARDS


def _read_json(folder: Path) -> dict[str, Any] | None:
    """Return what record.json says; None where there is none."""
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict) or not content.keys() >= _opening(None).keys():
        raise RecordError(f"`{path}` is no record of ours: choose another folder")
    if (version := content["schema_version"]) != SCHEMA_VERSION:
        raise RecordError(f"`{path}` has schema version {version}, not {SCHEMA_VERSION}: measure again elsewhere")
    return content


def _clear(folder: Path) -> None:
    """Remove what a record holds, and nothing else: pictures and strangers stay.

    record.json says so first, so that a run killed in here leaves no old shard under a new header.
    """
    write_json(folder / RECORD, _opening(None))
    shutil.rmtree(folder / SHARDS, ignore_errors=True)
    for path in folder.iterdir():
        if _belongs_to_record(path) and path.name not in (RECORD, LOCK):
            path.unlink()


def _may_continue(folder: Path, header: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Decide whether a record already begun is ours to continue; raise when it is another or complete."""
    if found["header"] is None:
        return False
    if found["complete"]:
        raise RecordError(f"`{folder}` holds a complete record: pass `--overwrite`, or choose another `--out`")
    other = difference(found["header"], header)
    if other is None:
        return True
    raise RecordError(
        f"`{folder}` holds an incomplete record with `{other.field}` {other.left!r}, not {other.right!r}: "
        "pass `--overwrite`, or choose another `--out`"
    )


def open_record(folder: str | Path, header: Mapping[str, Any], overwrite: bool = False) -> RecordWriter:
    """Begin a record in `folder`, or continue the one with the same header that was left incomplete there.

    Args:
        folder: made if missing; if it holds anything, that must be a record.
        header: what identifies the record, `HEADER` naming the fields it must have.
        overwrite: begin anew, whatever record is there.
    """
    folder, header = Path(folder), plain(header)
    if absent := [name for name in HEADER if name not in header]:
        raise RecordError(f"`header` must have {', '.join(HEADER)}; it misses {', '.join(absent)}")
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
    found = _read_json(folder)
    strangers = [path.name for path in folder.iterdir() if path.name not in (LOCK, RECORD + TEMPORARY)]
    if found is None and strangers:
        raise RecordError(f"`{folder}` holds {min(strangers)} but no record: choose another `--out`")
    if found is not None and not overwrite and _may_continue(folder, header, found):
        return
    _clear(folder)
    write_json(folder / RECORD, _opening(header))


def read_record(folder: str | Path, *tables: str) -> Measurement:
    """Read a complete record and the tables asked for, by name."""
    folder = Path(folder)
    for table in tables:
        schema_of(table)
    found = _read_json(folder)
    command = f"{written_by(*tables)} --out {folder}"
    if found is None:
        raise RecordError(f"`{folder}` holds no record: write one with `{command}`")
    if not found["complete"]:
        raise RecordError(f"the record in `{folder}` is incomplete: finish it with `{command}`")
    return Measurement(folder, found, {table: _read_listed(folder, found, table) for table in tables})


def _read_listed(folder: Path, found: Mapping[str, Any], table: str) -> pd.DataFrame:
    if table not in found["tables"]:
        raise RecordError(f"the record in `{folder}` has no table `{table}`: `{written_by(table)}` writes it")
    frame = read_table(folder, table)
    check(table, frame)
    return frame
