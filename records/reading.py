"""Complete records as they are read back."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.shell import run_module
from records.errors import NoTable, RecordError
from records.files import file_sha256
from records.fingerprint import difference
from records.record_json import RECORD, plain_header, read_record_json, stated
from records.table import Table
from records.tables import TABLES, table_named

if TYPE_CHECKING:
    import pandas as pd

_DEFAULT_WRITER = TABLES["bins"]


@dataclass(frozen=True, eq=False)
class Measurement:
    """A complete record. Its tables are attributes, `record.bins`, which are read from its folder on first use.

    path: the record's folder; None for a measurement in memory.
    record: what record.json says: header, fingerprint, notes, number of rows of each table.
    tables: the tables read so far, by name.
    """

    path: Path | None
    record: Mapping[str, Any]
    tables: dict[str, "pd.DataFrame"] = field(repr=False)

    @property
    def header(self) -> Mapping[str, Any]:
        """What identifies the record: `probe`, `pair`, `weights`, `settings`."""
        return self.record["header"]

    @property
    def notes(self) -> Mapping[str, Any]:
        """How the run went: versions, threads, timings, counts."""
        return self.record["notes"]

    @property
    def where(self) -> str:
        """The record's folder, in words for a message."""
        return "the record in memory" if self.path is None else f"`{self.path}`"

    def has(self, *names: str) -> bool:
        """Say whether the record has all these tables."""
        return set(names) <= {*self.tables, *self.record.get("tables", ())}

    def table(self, name: str) -> "pd.DataFrame":
        """Return a table by its name.

        Raises:
            NoTable: there is no such table, or the record lacks it; the message names the command that writes it.
            RecordError: the file of the table is damaged, or is not the one that the record was finished with.
        """
        if name not in self.tables:
            self.tables[name] = self._read(name)
        return self.tables[name]

    def __getattr__(self, name: str) -> "pd.DataFrame":
        if name.startswith("_"):  # what copy, pickle and notebooks look for
            raise AttributeError(name)
        return self.table(name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.record.get("tables", ())]

    def _read(self, name: str) -> "pd.DataFrame":
        table = table_named(name)
        if self.path is None or name not in self.record.get("tables", ()):
            where = "in memory" if self.path is None else f"in {self.where}"
            raise NoTable(f"the record {where} has no table `{name}`: `{table.command}` writes it")
        return self._held(table)

    def _held(self, table: Table) -> "pd.DataFrame":
        """Read a table and hold it against what record.json says of it."""
        assert self.path is not None
        path, hashes = self.path / table.file, self.record.get("hashes", {})
        way_out = "put back the file that was written, or measure again with `--overwrite`"
        if table.name in hashes and path.is_file() and file_sha256(path) != hashes[table.name]:
            raise RecordError(f"`{path}` must be the file that the record was finished with, got another: {way_out}")
        frame, rows = table.read(self.path), self.record["tables"][table.name]
        if len(frame) != rows:
            raise RecordError(f"`{path}` must have {rows} rows as `{RECORD}` says, got {len(frame)}: {way_out}")
        return frame


def read_record(folder: str | Path, *tables: str) -> Measurement:
    """Read a complete record and the tables asked for, by name.

    If the folder itself holds no record, the record of its only subfolder that has these tables is read.

    Raises:
        RecordError: there is no such record, it is incomplete, or several subfolders have one.
        NoTable: the record lacks a table, or there is no such table.
    """
    folder = Path(folder)
    wanted = [table_named(name) for name in tables]
    content = read_record_json(folder)
    if content is None and (inner := _only_record_in(folder, tables)):
        folder, content = inner
    writers = [table for table in wanted if table.writer != _DEFAULT_WRITER.writer] or [_DEFAULT_WRITER]
    command = run_module(writers[0].writer, "--out", folder)
    if content is None:
        raise RecordError(f"`{folder}` holds no record: write one with `{command}`")
    if not content["complete"]:
        raise RecordError(f"the record in `{folder}` is incomplete: finish it with `{command}`")
    record = Measurement(folder, content, {})
    for name in tables:
        record.table(name)
    return record


def complete_record(folder: str | Path, header: Mapping[str, Any]) -> Measurement | None:
    """Return the complete record with exactly this header.

    None if the folder holds no record, an incomplete one, or one with another header.

    Raises:
        RecordError: the folder's record.json is not a record's, or has another schema version.
    """
    content = read_record_json(Path(folder))
    if content is None or not content["complete"] or difference(content["header"], plain_header(header)):
        return None
    return Measurement(Path(folder), content, {})


def recorded_probe(folder: str | Path) -> str | None:
    """Return the probe whose record a folder holds, complete or not; None if it holds none.

    Raises:
        RecordError: the folder's record.json is not a record's, or has another schema version.
    """
    content = stated(Path(folder))
    return plain_header(content["header"])["probe"] if content and content["header"] else None


def _only_record_in(folder: Path, tables: Sequence[str]) -> tuple[Path, dict[str, Any]] | None:
    """Return the one subfolder whose complete record has the tables, and what its record.json says; else None."""
    matching = [(inner, content) for inner, content in _records_in(folder) if content["tables"].keys() >= set(tables)]
    if len(matching) > 1:
        names = ", ".join(f"`{inner}`" for inner, _ in matching)
        raise RecordError(f"`{folder}` holds several records with these tables: name one of {names}")
    return matching[0] if matching else None


def _records_in(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the subfolders that hold a complete record; what is no record of ours is passed over."""
    for inner in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            content = read_record_json(inner)
        except RecordError:
            continue
        if content is not None and content["complete"]:
            yield inner, content
