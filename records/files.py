"""Tables and JSON on disk: written whole or not at all, and the same bytes for the same content."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from records.measurement import TO_READ_BY_EYE, RecordError, schema_of

TEMPORARY = ".part"


def table_path(folder: Path, table: str) -> Path:
    """Return where a table of a record stands: as CSV what is to be read by eye, the others as Parquet."""
    return folder / f"{table}.{'csv' if table in TO_READ_BY_EYE else 'parquet'}"


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a temporary neighbour, then put it in the place of `path` in one step."""
    part = path.with_name(path.name + TEMPORARY)
    write(part)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(part, path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in the order given."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, lambda part: _write_text(part, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_table(folder: Path, table: str, frame: pd.DataFrame) -> None:
    """Write a checked table in its schema's column order, without index or library metadata."""
    schema = schema_of(table)
    content = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    content = content.replace_schema_metadata(None)
    write = _write_csv if table in TO_READ_BY_EYE else pyarrow.parquet.write_table
    write_whole(table_path(folder, table), lambda part: write(content, part))


def _write_csv(content: pa.Table, path: Path) -> None:
    pyarrow.csv.write_csv(content, path, pyarrow.csv.WriteOptions(quoting_header="none"))


def read_table(folder: Path, table: str) -> pd.DataFrame:
    """Read a table of a record."""
    path, schema = table_path(folder, table), schema_of(table)
    try:
        if table in TO_READ_BY_EYE:
            types = pyarrow.csv.ConvertOptions(column_types=schema)
            return pyarrow.csv.read_csv(path, convert_options=types).to_pandas()
        return pyarrow.parquet.read_table(path).to_pandas()
    except (OSError, pa.ArrowInvalid) as error:
        raise RecordError(f"cannot read `{path}`: {str(error).splitlines()[0]}") from error


def write_shard(path: Path, frame: pd.DataFrame) -> None:
    """Write an intermediate table of any columns."""
    write_whole(path, lambda part: frame.to_parquet(part, index=False))
