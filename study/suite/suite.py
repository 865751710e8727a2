"""The whole suite: models first, so that runs can begin on them, then a card of each pair and the page of all."""

from collections.abc import Sequence
from pathlib import Path

import torch

from cli.errors import OptionError
from cli.progress import say
from records.files import write_page
from study.suite.build import Builder
from study.suite.cards import pair_card, point_card, teacher_card
from study.suite.designs import GRID, PAIRS
from study.suite.page import page
from vlm.checkpoints.checkpoint import quiet


def make(out: Path, pairs: Sequence[str] = tuple(PAIRS), *, grid: bool = False, cards: Path | None = None) -> Path:
    """Make and measure what is missing of the suite, on one thread; return the path of the page.

    Args:
        out: folder of the models.
        pairs: names from `PAIRS`.
        grid: whether the students of `GRID` are made, too.
        cards: folder of the cards (default: `out/cards`).

    Raises:
        OptionError: there is no pair of such a name.
        RecordError: the folder holds models that were made by another recipe.
    """
    if unknown := [name for name in pairs if name not in PAIRS]:
        raise OptionError(f"`pairs` must be of {', '.join(PAIRS)}, got {unknown[0]!r}")
    quiet()
    torch.set_num_threads(1)  # results depend on it
    folder = out / "cards" if cards is None else cards
    builder = Builder(out)
    builder.base()
    students = {name: builder.pair(name, PAIRS[name]) for name in pairs}
    points = {name: builder.point(name, GRID[name]) for name in GRID} if grid else {}
    say("measuring cards")
    teacher = teacher_card(folder / "teacher.json", builder.teacher)
    of_pairs = {name: pair_card(folder / f"{name}.json", students[name], PAIRS[name]) for name in students}
    of_grid = {name: point_card(folder / f"{name}.json", points[name], GRID[name]) for name in points}
    write_page(folder / "README.md", page(teacher, of_pairs, of_grid))
    return folder / "README.md"
