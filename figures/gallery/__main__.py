"""Draw every picture of the gallery again from the small records beside it, or put a record there.

    python -m figures.gallery
    python -m figures.gallery --records angles study --out pictures
    python -m figures.gallery --keep runs/gallery/sensitivity sensitivity

Writes `RECORD/NAME.png`, `RECORD/NAME.svg` where that is small, the paper's tables as `study/tables.md`, and the
picture of the README as `hero.png`. A PNG has at most 256 colours where that changes no pixel much; pictures with a
colour map keep all their colours. A record that is missing is named and left out. `--keep` copies a record, with only
those of its tables that pictures and the claims read. `figures.gallery.rows` lists the pictures; the README beside it
says which command wrote each record.
"""

import sys
from argparse import SUPPRESS
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import UserError, exit_code
from cli.options import Parser
from cli.visible import print_err, print_out
from figures.gallery.rows import ALSO_KEPT, GALLERY, ROWS, GalleryPicture

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

LARGEST_SVG_BYTES = 100_000
LARGEST_SHIFT = 16
"""How far, of 255, a channel of a pixel may move when a picture gets a palette; our colours are further apart."""
RECORDS = tuple(dict.fromkeys(row.record for row in ROWS))


def save_small(figure: "Figure", stem: Path) -> list[Path]:
    """Write `stem.png`, from a palette if that does no harm, and `stem.svg` where that is small; return the paths."""
    from PIL import Image

    from figures.style import save

    png, svg = save(figure, stem)
    with Image.open(png) as picture:
        whole = picture.convert("RGB")
    few = None if has_colour_map(figure) else from_palette(whole)
    (few or whole).save(png, optimize=True)
    if svg.stat().st_size <= LARGEST_SVG_BYTES:
        return [png, svg]
    svg.unlink()
    return [png]


def has_colour_map(figure: "Figure") -> bool:
    """Say whether anything in a figure is coloured by a map; a picture in it has its own colours."""
    from matplotlib.cm import ScalarMappable

    mapped = [artist.get_array() for artist in figure.findobj() if isinstance(artist, ScalarMappable)]
    return any(values is not None and values.ndim < 3 for values in mapped)


def from_palette(picture: "Image.Image") -> "Image.Image | None":
    """Return a picture with the fewest colours that move none by more than `LARGEST_SHIFT`; None where 256 do."""
    import numpy as np
    from PIL import Image, ImageChops

    for colours in (64, 128, 256):
        few = picture.quantize(colours, method=Image.Quantize.MAXCOVERAGE)  # the others merge colours that are rare
        if np.asarray(ImageChops.difference(few.convert("RGB"), picture)).max() <= LARGEST_SHIFT:
            return few
    return None


def redraw(records: Sequence[str], out: Path) -> None:
    """Draw the pictures of some records, and name those that are not there.

    Raises:
        UserError: no picture is drawn from a record of such a name.
    """
    if unknown := [name for name in records if name not in RECORDS]:
        raise UserError(f"`--records` must be some of {', '.join(RECORDS)}, got {unknown[0]!r}")
    missing = [name for name in records if not (GALLERY / name / "record.json").is_file()]
    for name in missing:
        print_err(f"{name}: no record in {GALLERY / name}, its pictures are left out")
    for row in ROWS:
        if row.record in records and row.record not in missing:
            print_out(*_written(row, out))


def _written(row: GalleryPicture, out: Path) -> list[Path]:
    if row.picture.page:
        return row.picture.write(row.picture.read(GALLERY / row.record), out / row.record)
    return save_small(row.drawn(GALLERY), out / row.place)


def keep(source: Path, name: str, gallery: Path = GALLERY) -> Path:
    """Copy a record to the gallery, with the tables that pictures and claims read; return its folder there.

    Raises:
        RecordError: no picture is drawn from that name, or the record lacks a table.
    """
    from records import RecordError, open_record, read_record

    pictures = [row.picture for row in ROWS if row.record == name]
    if not pictures and name not in ALSO_KEPT:
        names = ", ".join(dict.fromkeys([*RECORDS, *ALSO_KEPT]))
        raise RecordError(f"`name` must be one that pictures are drawn from or claims rest on ({names}), not {name!r}")
    tables = {table for one in pictures for table in one.tables}.union(ALSO_KEPT.get(name, ()))
    there = read_record(source, *sorted(tables)).record["tables"]
    tables |= {table for one in pictures for table in one.optional if table in there}
    record = read_record(source, *sorted(tables))
    with open_record(gallery / name, record.header, overwrite=True) as writer:
        writer.finish(record.tables, record.record["notes"])
    return gallery / name


def main(argv: Sequence[str] | None = None) -> int:
    """Draw or copy from the command line; return the exit code."""
    parser = Parser("figures.gallery", __doc__)
    words = f"whose pictures to draw: some of {', '.join(RECORDS)} (default: all)"
    shape: dict[str, Any] = {"type": str, "default": SUPPRESS}
    parser.add_argument("--records", nargs="+", metavar="NAME", help=words, **shape)
    parser.add_argument("--out", metavar="FOLDER", help="folder of the pictures (default: the gallery)", **shape)
    words = "instead of drawing, copy a record to the gallery under a name"
    parser.add_argument("--keep", nargs=2, metavar=("RECORD", "NAME"), help=words, **shape)
    parsed = parser.parse_args(argv)
    return exit_code(lambda: _run(parsed.get("records", RECORDS), Path(parsed.get("out", GALLERY)), parsed.get("keep")))


def _run(records: Sequence[str], out: Path, kept: Sequence[str] | None) -> None:
    try:
        if kept:
            print_out(keep(Path(kept[0]), kept[1]))
        else:
            redraw(records, out)
    except OSError as error:
        raise UserError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
