"""The scoreboard's section about right answers on pairs with set gaps, after longer runs than those of the grid."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

from study.claims.contrast_words import counted, difference_cell, interim, number, verdict_of
from study.claims.markdown import markdown_table
from study.comparison import CORRECT
from study.phases.table import contrasts
from study.rules import ACCURACY_MARGIN, LONG_ARMS, LONG_PAIRS, LONG_RUN

_RULES: Final = """\
Other students under the same teacher, {steps} steps at learning rate {lr:g}. Each run answers {answers:,} prompts with
the average of the weights of its last third of steps; only prompts that need the picture are judged. *Helps* and
*harms* mean that the first arm has more or fewer right answers than the second: a 95 % interval of Student's t over the
seeds' differences that excludes 0. *No difference* holds by two one-sided tests with a margin of {margin:g} points.
Each row is judged by itself, exploratory and unadjusted. Commands: `python -m study.suite runs/suite`, then
`python -m study.phases {flags}`."""


def pair_answers(table: pd.DataFrame) -> Iterator[str]:
    """Yield the parts about right answers after longer runs."""
    if table.empty:
        return
    rows = table[table["quantity"] == CORRECT]
    yield "### Right answers after longer runs"
    by_contrast = rows.groupby(["arm", "against"], sort=False)
    yield "\n".join(f"- **{arm} - {other}**: {counted(own, 1, 'points')}." for (arm, other), own in by_contrast)
    yield _RULES.format(**LONG_RUN, margin=ACCURACY_MARGIN, flags=_flags())
    yield from _rivals(rows)
    yield from _missing(rows)
    yield from interim(rows)
    titles = ("pair", "contrast", "right answers of the second", "difference, points", "detectable", "p", "verdict")
    yield markdown_table(titles, [_answer_cells(row) for row in rows.to_dict("records")])


def _rivals(rows: pd.DataFrame) -> Iterator[str]:
    """Name the arms that the rules do not ask for, each with its pairs."""
    for arm, own in rows[~rows["arm"].isin(LONG_ARMS)].groupby("arm", sort=False):
        pairs = " ".join(dict.fromkeys(own["pair"]))
        yield f"A rival of steering, by the same command with `--pairs {pairs} --arms {arm}`: `{arm}`."


def _missing(rows: pd.DataFrame) -> Iterator[str]:
    """Name what the rules ask for and the table lacks."""
    there = set(zip(rows["pair"], rows["arm"], rows["against"], strict=True))
    wanted = [(pair, *two) for pair in LONG_PAIRS for two in contrasts(LONG_ARMS)]
    if lacking := [f"{arm} - {other} on {pair}" for pair, arm, other in wanted if (pair, arm, other) not in there]:
        yield f"**Interim**: the rule asks for {len(wanted)} rows, and {len(lacking)} are missing, first {lacking[0]}."


def _answer_cells(row: Mapping[Any, Any]) -> list[str]:
    return [
        row["pair"],
        f"{row['arm']} - {row['against']}",
        f"{number(row['change_against'], '.1f')}",
        difference_cell(row, 1),
        number(row["detectable"], ".1f"),
        number(row["p"], ".2g"),
        verdict_of(row),
    ]


def _flags() -> str:
    """What makes the longer runs, as flags of `study.phases`."""
    numbers = (f"--{name.replace('_', '-')} {value}" for name, value in LONG_RUN.items())
    places = "--runs runs/accuracy --records figures/gallery/suite_accuracy --out figures/gallery/phases_accuracy"
    return f"--pairs {' '.join(LONG_PAIRS)} --arms {' '.join(LONG_ARMS)} {' '.join(numbers)} {places}"
