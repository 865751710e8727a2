"""Write the page that describes every table of a record, from the tables themselves.

python -m records.tables                    # docs/tables.md
python -m records.tables --out tables.md
"""

import inspect
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

from records import columns
from records.page_command import write_by_command
from records.table import WORDS, Column, Table
from records.tables import MODULES

OPENING = """# Tables of a record

`python -m records.tables` writes this page from the tables in `records/tables/`.

A record is a folder. Its `record.json` says what was measured and how the run went. Each table is one file, CSV or
Parquet. No record has all tables. Some commands also write tables that are listed under another command. In Python,
`read_record(folder).bins` is the table `bins` as a pandas frame.

A record is held against `record.json` each time it is read. The header must have its `fingerprint`, and each table that
is read its number of rows (`tables`) and its sha256 (`hashes`). `checksum` covers all of these and the notes. Records
of schema version 1 have no hashes. They are read as long as the header and the rows fit;
`python -m records RECORD --write` adds the hashes of the files that are there, and `python -m records RECORD` checks
every table.

{vocabulary}

With `--metric adam`, norms, products and angles of gradients are those in Adam's metric.

The unit of a column stands at the end of its name: `_nats`, `_deg`, `_percent`, `_seconds`, or `_share` for a number
from 0 to 1. A frame may leave out an optional column.
"""


def page() -> str:
    """Return the page as Markdown."""
    _, vocabulary = _prose(columns)
    sections = (section for module in MODULES for section in _sections(module))
    return "\n".join([OPENING.format(vocabulary=vocabulary), *sections])


def _sections(module: ModuleType) -> Iterator[str]:
    title, prose = _prose(module)
    yield f"## {title.rstrip('.')}\n"
    if prose:
        yield f"{prose}\n"
    yield from map(_section, module.TABLES.values())


def _section(table: Table) -> str:
    about = f"{table.summary} File `{table.file}`, written by `{table.command}`."
    head = [_line("column", "type", "unit", "meaning"), _line("---", "---", "---", "---")]
    return "\n".join([f"### `{table.name}`\n", f"{about}\n", *head, *map(_row, table.columns), ""])


def _row(column: Column) -> str:
    kind = f"{WORDS[column.type]}, optional" if column.optional else WORDS[column.type]
    return _line(f"`{column.name}`", kind, column.unit, _escaped(column.meaning))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _prose(module: ModuleType) -> tuple[str, str]:
    """Return the title of a module's docstring and its other paragraphs."""
    title, _, prose = inspect.cleandoc(module.__doc__ or "").partition("\n\n")
    return title, prose


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; return the exit code."""
    return write_by_command("records.tables", __doc__, page, "docs/tables.md", argv)


if __name__ == "__main__":
    sys.exit(main())
