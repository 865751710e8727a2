"""Hold records against what they say of themselves.

    python -m records runs/demo
    python -m records figures/gallery/* --write

Reads every table of each record: header, number of rows and sha256 must be those that `record.json` says. Records that
earlier versions wrote have no hashes; `--write` adds those of the files that are there, and measures nothing.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import exit_code
from cli.options import Parser
from cli.visible import print_out

if TYPE_CHECKING:
    from records.reading import Measurement


def main(argv: Sequence[str] | None = None) -> int:
    """Check the records and print a line for each; return the exit code."""
    parser = Parser("records", __doc__)
    parser.add_argument("record", type=str, nargs="+", help="folders of records")
    parser.add_argument("--write", action="store_true", help="add hashes to records that have none")
    parsed = parser.parse_args(argv)
    return exit_code(lambda: _check([Path(folder) for folder in parsed.record], parsed.write))


def _check(folders: Sequence[Path], write: bool) -> None:
    from records.reading import read_record

    for folder in folders:
        record = read_record(folder)
        for name in record.record["tables"]:
            record.table(name)
        print_out(f"{folder}: {len(record.tables)} tables, {_held(record, write)}")


def _held(record: "Measurement", write: bool) -> str:
    """Say what the record was held against; add hashes if it has none and `write`."""
    from records.record_json import WITHOUT_HASHES

    if record.record["schema_version"] != WITHOUT_HASHES:
        return "rows and hashes as written"
    if not write:
        return "rows as written, no hashes: --write adds them"
    assert record.path is not None
    add_hashes(record.path)
    return "rows as written, hashes added"


def add_hashes(folder: Path) -> dict[str, Any]:
    """Add hashes of the tables' files to a complete record of the first version; return what record.json says then."""
    from records.files import file_sha256, write_json
    from records.record_json import RECORD, closing, stated
    from records.tables import table_named

    content = stated(folder)
    assert content is not None
    hashes = {name: file_sha256(folder / table_named(name).file) for name in content["tables"]}
    written = closing(content["header"], content["notes"], content["tables"], hashes)
    write_json(folder / RECORD, written)
    return written


if __name__ == "__main__":
    sys.exit(main())
