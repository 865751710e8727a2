"""The command line of figures: `python -m figures.NAME RECORD --out FOLDER` draws, or says in a line why not."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from figures.style import save
from records import Measurement, RecordError, read_record

STUDY = "study.effects"


def parser(module: str, description: str, writer: str = STUDY) -> argparse.ArgumentParser:
    """Return a parser that knows the record and --out."""
    made = argparse.ArgumentParser(prog=f"python -m figures.{module}", description=description)
    made.add_argument("record", type=Path, help=f"folder written by `python -m {writer}`")
    made.add_argument("--out", type=Path, help="folder of the pictures (default: the record's)")
    return made


def draw_and_save(
    module: str,
    options: argparse.Namespace,
    tables: tuple[str, ...],
    draw: Callable[[Measurement], Mapping[str, Figure]],
) -> int:
    """Read the tables, save what `draw` returns by name, print the paths; return the exit code."""
    try:
        figures = draw(read_record(options.record, *tables))
        folder = options.out or options.record
        paths = [path for name, figure in figures.items() for path in save(figure, folder / name)]
    except (RecordError, OSError) as error:
        print(f"figures.{module}: error: {error}", file=sys.stderr)
        return 2
    print(*paths, sep="\n")
    return 0
