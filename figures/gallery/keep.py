"""Put a record into the gallery, with no more of its tables than pictures and the claims read.

python -m figures.gallery.keep runs/gallery/sensitivity sensitivity
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from figures.gallery.rows import ALSO_KEPT, GALLERY, ROWS
from records import RecordError, open_record, read_record


def keep(source: Path, name: str, gallery: Path = GALLERY) -> Path:
    """Copy what `ROWS` and `ALSO_KEPT` name of a record to the gallery's record of a name; return its folder.

    Raises:
        RecordError: no picture is drawn from that name, or the record lacks a table.
    """
    tables = {table for row in ROWS if row.record == name for table in row.tables}.union(ALSO_KEPT.get(name, ()))
    if not tables:
        known = ", ".join(dict.fromkeys([*(row.record for row in ROWS), *ALSO_KEPT]))
        raise RecordError(f"`name` must be one that pictures are drawn from or claims rest on ({known}), not {name!r}")
    record = read_record(source, *sorted(tables))
    with open_record(gallery / name, record.header, overwrite=True) as writer:
        writer.finish(record.tables, record.record["notes"])
    return gallery / name


def main(argv: Sequence[str] | None = None) -> int:
    """Copy from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m figures.gallery.keep", description="Copy a record to the gallery.")
    parser.add_argument("record", type=Path, help="folder of the record")
    parser.add_argument("name", help="its name in the gallery")
    options = parser.parse_args(argv)
    try:
        print(keep(options.record, options.name))
    except RecordError as error:
        print(f"figures.gallery.keep: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
