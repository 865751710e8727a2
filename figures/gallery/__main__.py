"""Draw every picture of the gallery anew from the small records beside it, in seconds.

    python -m figures.gallery
    python -m figures.gallery --records angles study --out pictures

Writes `RECORD/NAME.png` with at most 256 colours, `RECORD/NAME.svg` where that is small, and the paper's tables as
`study/tables.md`. A record that is not there
is named and left out. `figures.gallery.rows` is the table of the pictures; the README beside it says which command
wrote each record.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from figures import tables
from figures.gallery.rows import GALLERY, ROWS
from figures.style import save
from records import RecordError, read_record

LARGEST_SVG_BYTES = 100_000
STUDY = "study"
RECORDS = tuple(dict.fromkeys(row.record for row in ROWS))


def save_small(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem.png` from a palette, and `stem.svg` where that is small; return the paths."""
    png, svg = save(figure, stem)
    with Image.open(png) as picture:
        picture.convert("RGB").quantize(256).save(png, optimize=True)
    if svg.stat().st_size <= LARGEST_SVG_BYTES:
        return [png, svg]
    svg.unlink()
    return [png]


def redraw(records: Sequence[str], out: Path) -> None:
    """Draw the pictures of some records, and name those that are not there."""
    missing = [name for name in records if not (GALLERY / name / "record.json").is_file()]
    for name in missing:
        print(f"{name}: no record in {GALLERY / name}, its pictures are left out", file=sys.stderr)
    for row in ROWS:
        if row.record in records and row.record not in missing:
            print(*save_small(row.drawn(GALLERY), out / row.record / row.name), sep="\n")
    if STUDY in records and STUDY not in missing:
        print(write_tables(out / STUDY))


def write_tables(folder: Path) -> Path:
    """Write the paper's tables with ours beside them; return the path."""
    path = folder / "tables.md"
    path.write_text(tables.text(read_record(GALLERY / STUDY, "verdicts", "effects")), encoding="utf-8")
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Draw from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m figures.gallery", description="Draw the gallery anew.")
    parser.add_argument("--records", nargs="+", choices=RECORDS, default=RECORDS, help="whose pictures (default: all)")
    parser.add_argument("--out", type=Path, default=GALLERY, help="folder of the pictures (default: the gallery)")
    options = parser.parse_args(argv)
    try:
        redraw(options.records, options.out)
    except (RecordError, OSError) as error:
        print(f"figures.gallery: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
