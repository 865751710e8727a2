"""A table of a record: what a row is, which columns it has, the file that holds it, the command that writes it.

A new table is one object: `Table("bins", "One row for each VDS bin.", "probes.angles", columns=(...))`, listed in
`records.tables`. Types are Arrow's names, so that the tables can be listed without Arrow or pandas.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from records.errors import RecordError
from records.files import write_whole

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

WORDS: Final = {
    "string": "text",
    "int64": "whole number",
    "double": "real number",
    "bool": "yes or no",
    "binary": "bytes",
}
"""The types of columns: Arrow's name, and its meaning."""
UNITS: Final = {
    "_nats": "nats",
    "_deg": "degrees",
    "_percent": "percent",
    "_seconds": "seconds",
    "_share": "share",
}
"""The unit of a column by the end of its name."""


ROW_GROUP: Final = 1 << 20
"""Rows that are written together."""


@dataclass(frozen=True)
class Column:
    """One column. `optional`: a frame may leave it out."""

    name: str
    type: str
    meaning: str
    optional: bool = False

    @property
    def unit(self) -> str:
        """The unit of the numbers by the end of the name; empty for a column without one."""
        return next((unit for end, unit in UNITS.items() if self.name.endswith(end)), "")


def text(name: str, meaning: str) -> Column:
    """Describe a column of text."""
    return Column(name, "string", meaning)


def whole(name: str, meaning: str) -> Column:
    """Describe a column of whole numbers."""
    return Column(name, "int64", meaning)


def real(name: str, meaning: str, optional: bool = False) -> Column:
    """Describe a column of real numbers; NaN is a missing number."""
    return Column(name, "double", meaning, optional)


def yes_no(name: str, meaning: str, optional: bool = False) -> Column:
    """Describe a column of truth values."""
    return Column(name, "bool", meaning, optional)


def png(name: str, meaning: str) -> Column:
    """Describe a column of pictures, each the bytes of a PNG."""
    return Column(name, "binary", meaning)


@dataclass(frozen=True)
class Table:
    """A kind of table.

    summary: a sentence that says what one row is.
    writer: the module of the command that writes the table.
    format: CSV for tables that people read, Parquet for the others.
    """

    name: str
    summary: str
    writer: str
    columns: Sequence[Column]
    format: Literal["csv", "parquet"] = "parquet"

    @property
    def names(self) -> list[str]:
        """The columns that every frame has, in their order."""
        return [column.name for column in self.columns if not column.optional]

    @property
    def command(self) -> str:
        """The command that writes the table."""
        return f"python -m {self.writer}"

    @property
    def file(self) -> str:
        """The name of the table's file in a record's folder."""
        return f"{self.name}.{self.format}"

    def check(self, frame: "pd.DataFrame") -> None:
        """Refuse a frame with a missing, unknown or wrongly typed column; their order does not matter.

        A column without a single value fits every type.

        Raises:
            RecordError: the message names the columns.
        """
        missing = [name for name in self.names if name not in frame.columns]
        described = {column.name for column in self.columns}
        extra = [str(name) for name in frame.columns if name not in described]
        wrong = [] if missing or extra else list(self._wrongly_typed(frame))
        for fault, names in (("misses", missing), ("has unknown", extra), ("has wrongly typed", wrong)):
            if names:
                raise RecordError(f"table `{self.name}` {fault} columns: {', '.join(names)}")

    def _wrongly_typed(self, frame: "pd.DataFrame") -> list[str]:
        types = {column: _type_of(frame[column.name]) for column in self._present(frame)}
        return [
            f"{column.name} ({actual}, must be {column.type})"
            for column, actual in types.items()
            if actual not in (column.type, "null")
        ]

    def to_arrow(self, frame: "pd.DataFrame") -> "pa.Table":
        """Return a checked frame in the table's order and types, without index or library metadata."""
        import pyarrow as pa

        schema = self._schema(self._present(frame))
        plain = {name: str for name in schema.names if frame[name].dtype == "category"}
        content = pa.Table.from_pandas(frame[schema.names].astype(plain), schema=schema, preserve_index=False)
        return content.replace_schema_metadata(None)

    def write(self, folder: Path, frame: "pd.DataFrame") -> None:
        """Write a checked frame into a record's folder: whole or not at all, the same bytes for the same content."""
        if self.format == "csv":
            write_whole(folder / self.file, lambda part: _write_csv(self.to_arrow(frame), part))
        else:
            write_whole(folder / self.file, lambda part: self._write_parquet(frame, part))

    def read(self, folder: Path) -> "pd.DataFrame":
        """Read the table from a record's folder and check it.

        Raises:
            RecordError: there is no such file, it is damaged, or its columns are others.
        """
        import pyarrow as pa

        path = folder / self.file
        try:
            content = self._read_csv(path) if self.format == "csv" else _read_parquet(path)
            frame = content.to_pandas()
        except (OSError, ValueError, pa.ArrowException) as error:  # what a file of anything else can raise
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise RecordError(f"cannot read `{path}`: {reason}") from error
        self.check(frame)
        return frame

    def _write_parquet(self, frame: "pd.DataFrame", path: Path) -> None:
        """Write a row group at a time, so that no second copy of a large frame is made."""
        from pyarrow import parquet

        with parquet.ParquetWriter(path, self._schema(self._present(frame))) as writer:
            for start in range(0, max(len(frame), 1), ROW_GROUP):
                writer.write_table(self.to_arrow(frame.iloc[start : start + ROW_GROUP]), ROW_GROUP)

    def _present(self, frame: "pd.DataFrame") -> list[Column]:
        return [column for column in self.columns if column.name in frame.columns]

    @staticmethod
    def _schema(columns: Sequence[Column]) -> "pa.Schema":
        import pyarrow as pa

        return pa.schema({column.name: pa.type_for_alias(column.type) for column in columns})

    def _read_csv(self, path: Path) -> "pa.Table":
        from pyarrow import csv

        return csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=self._schema(self.columns)))


def by_name(*tables: Table) -> Mapping[str, Table]:
    """Return the tables by their names, in the order in which they are listed."""
    return {table.name: table for table in tables}


def _type_of(values: "pd.Series") -> str:
    """Return Arrow's name for the type of a column's values; text has one type however it is stored."""
    import pyarrow as pa

    if not values.notna().any():
        return "null"
    try:
        arrow = pa.array(values.cat.categories if values.dtype == "category" else values).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return "large_binary"  # a mixture, of no type that a table has
    return "string" if pa.types.is_large_string(arrow) else str(arrow)


def _write_csv(content: "pa.Table", path: Path) -> None:
    from pyarrow import csv

    csv.write_csv(content, path, csv.WriteOptions(quoting_header="none"))


def _read_parquet(path: Path) -> "pa.Table":
    from pyarrow import parquet

    return parquet.read_table(path)
