"""Make pairs whose visual and language gaps are set on purpose, and measure a card of each.

    python -m study.suite                                  # five pairs in runs/suite, a quarter of an hour on one core
    python -m study.suite runs/suite --grid                # and a grid of nine pairs, made in seconds each
    python -m study.suite runs/mine --pairs language both --cards runs/mine/cards
    python -m train --student runs/suite/both/student --objective vgs

All students share one teacher, OUT/teacher, and an ancestor, OUT/ancestor. The student of a pair is the checkpoint
OUT/NAME/student, whose pair.json names the teacher: every probe and `python -m train` take it. The cards are
CARDS/NAME.json and the page CARDS/README.md. What is complete is left alone, and an interrupted stage begins again.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cli.errors import exit_code
from cli.options import Parser, flag, pick
from cli.shell import run_module
from cli.visible import print_out

Name = Literal["language", "both", "conflict", "vision", "small"]


@dataclass(frozen=True)
class SuiteOptions:
    """What is made"""

    pairs: Sequence[Name] = flag(
        ("language", "both", "conflict", "vision", "small"), "students to make from the ancestor", short="NAME"
    )
    grid: bool = flag(False, "also make the grid of visual gaps and language gaps")
    cards: Path | None = flag(None, "folder of the cards and their page (default: OUT/cards)", short="FOLDER")


def main(argv: Sequence[str] | None = None) -> int:
    """Make and measure the pairs; return the exit code."""
    parser = Parser("study.suite", __doc__)
    parser.add_argument("out", nargs="?", type=Path, default=Path("runs/suite"), help="folder of the suite")
    parser.add_options(SuiteOptions)
    parsed = parser.parse_args(argv)
    return exit_code(lambda: _make(parsed.out, pick(parsed, SuiteOptions)))


def _make(out: Path, options: SuiteOptions) -> None:
    from study.suite.suite import make  # here, so that --help needs no model library

    page = make(out, options.pairs, grid=options.grid, cards=options.cards)
    print_out(f"cards: {page}")
    first = out / options.pairs[0] / "student"
    print_out(f"next: {run_module('train', '--student', first, '--objective', 'vgs')}")


if __name__ == "__main__":
    sys.exit(main())
