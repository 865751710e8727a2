"""The scoreboard's section about right answers on pairs with set gaps, after longer runs than those of the grid."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

from study.claims.contrast_words import counted, difference_cell, interim, verdict_of
from study.claims.markdown import markdown_table
from study.comparison import CORRECT
from study.rules import LONG_ARMS, LONG_PAIRS, LONG_RUN

_RULES: Final = """\
Three other students under the same teacher, {steps} steps at {lr:g}. Each run answers {answers:,} prompts with the
average of its last weights; those that need the picture count. Intervals are Student's t over the seeds' differences.
*No difference* has a margin of 2 points. Each row is judged by itself, exploratory and unadjusted. Command, after the
suite's: `python -m study.phases {flags}`."""


def pair_answers(table: pd.DataFrame) -> Iterator[str]:
    """Yield the parts about right answers after longer runs."""
    if table.empty:
        return
    rows = table[table["quantity"] == CORRECT]
    yield "### Right answers after longer runs"
    by_contrast = rows.groupby(["arm", "against"], sort=False)
    yield "\n".join(f"- **{arm} - {other}**: {counted(own, 1, 'points')}." for (arm, other), own in by_contrast)
    yield _RULES.format(**LONG_RUN, flags=_flags())
    yield from interim(rows)
    titles = ("pair", "contrast", "right answers of the second", "difference, points", "detectable", "p", "verdict")
    yield markdown_table(titles, [_answer_cells(row) for row in rows.to_dict("records")])


def _answer_cells(row: Mapping[str, Any]) -> list[str]:
    return [
        row["pair"],
        f"{row['arm']} - {row['against']}",
        f"{row['change_against']:.1f} %",
        difference_cell(row, 1),
        f"{row['detectable']:.1f}",
        f"{row['p']:.2g}",
        verdict_of(row),
    ]


def _flags() -> str:
    """What makes the longer runs, as flags of `study.phases`."""
    numbers = (f"--{name.replace('_', '-')} {value}" for name, value in LONG_RUN.items())
    places = "--runs runs/accuracy --records figures/gallery/suite_accuracy --out figures/gallery/phases_accuracy"
    return f"--pairs {' '.join(LONG_PAIRS)} --arms {' '.join(LONG_ARMS)} {' '.join(numbers)} {places}"
