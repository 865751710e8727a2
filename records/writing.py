"""Records that are being filled: shard by shard, then finished once.

`MemoryRecord` keeps everything in memory, `records.folder.RecordWriter` in a folder. A caller need not know which of
the two it fills: both are an `OpenRecord`.
"""

import io
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from records.errors import RecordError
from records.reading import Measurement
from records.record_json import closing, plain_header
from records.tables import table_named

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

    def gather(self, table: str) -> "pd.DataFrame":
        """Return all shards of a table, one below the other in the order of their index.

        Raises:
            RecordError: no shard of the table has been added.
        """
        import pandas as pd

        names = sorted(name for name in self._files if name.rpartition("-")[0] == table + self._part)
        if not names:
            raise RecordError(f"there are no shards of `{table}`: add one before gathering")
        return pd.concat([pd.read_parquet(io.BytesIO(self._files[name])) for name in names], ignore_index=True)

    def _name(self, table: str, shard_index: int) -> str:
        return f"{table}{self._part}-{shard_index:06d}"


class OpenRecord(Shards):
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

    def _kept(self, tables: Mapping[str, "pd.DataFrame"], content: Mapping[str, Any]) -> Measurement:
        """Keep checked tables and what record.json says; return them as they are read back."""
        raise NotImplementedError


class MemoryRecord(OpenRecord):
    """A record in memory: nothing is written, and a run that stops leaves nothing."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        super().__init__(plain_header(header), {})

    def _kept(self, tables: Mapping[str, "pd.DataFrame"], content: Mapping[str, Any]) -> Measurement:
        self._files.clear()
        frames = {name: table_named(name).to_arrow(frame).to_pandas() for name, frame in tables.items()}
        return Measurement(None, content, frames)
