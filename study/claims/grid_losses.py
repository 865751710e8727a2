"""The scoreboard's section about losses on the grid of pairs with set gaps."""

from collections.abc import Iterator
from typing import Final

import pandas as pd

from study.claims.contrast_words import counted, difference_cell, interim, number, verdict_of
from study.claims.markdown import markdown_table
from study.rules import STANDARD

_ENDPOINT: Final = "standard"
_GAPS: Final = {
    "language_gap_nats": "language gap",
    "visual_gap_nats": "visual gap",
    "steered_deg": "angle between the standard and the steered gradient",
}
_RULES: Final = """\
Students made with set gaps, all under one teacher (`study/suite`, [cards](../study/suite/cards/README.md)). Each is
distilled by standard and by each arm below, from the same seeds and prompts. The endpoint is the change of the standard
loss in bins 7-9 over the run, on the first student's responses. *Helps* and *harms* mean that the arm lowers it more or
less than standard does: a 95 % interval of Student's t over the seeds' differences that excludes 0. *No difference*
holds by two one-sided tests with a margin of 0.02 nats. Each pair is judged by itself and unadjusted.
Command: `python -m study.suite runs/suite --grid && python -m study.phases`."""


def grid_losses(table: pd.DataFrame) -> Iterator[str]:
    """Yield the parts about losses on the grid."""
    if table.empty:
        return
    rows = table[(table["quantity"] == _ENDPOINT) & (table["against"] == STANDARD)]
    yield "\n".join(f"- **{arm}**: {counted(own, 4, 'nats')}." for arm, own in rows.groupby("arm", sort=False))
    yield _RULES
    yield from interim(rows)
    yield _pairs_table(rows)
    yield from _orders(rows)


def _pairs_table(rows: pd.DataFrame) -> str:
    arms = list(dict.fromkeys(rows["arm"]))
    titles = ("pair", "visual gap", "language gap", "angle", "standard changes by", *(f"{arm} - it" for arm in arms))
    lines = []
    for pair, members in rows.groupby("pair", sort=False):
        first = members.iloc[0]
        gaps = [f"{first[name]:.3f}" for name in ("visual_gap_nats", "language_gap_nats")]
        by_arm = {row["arm"]: row for row in members.to_dict("records")}
        cells = [
            f"{difference_cell(by_arm[arm], 4)}, {verdict_of(by_arm[arm])}" if arm in by_arm else "-" for arm in arms
        ]
        lines.append([str(pair), *gaps, number(first["steered_deg"], ".0f"), f"{first['change_against']:+.4f}", *cells])
    return markdown_table(titles, lines) + "\n\nGaps, changes and differences in nats, angles in degrees."


def _orders(rows: pd.DataFrame) -> Iterator[str]:
    """How the differences go with the gaps and the angle, over pairs."""
    from scipy.stats import spearmanr  # half a second

    lines = []
    for arm, own in rows.groupby("arm", sort=False):
        if own["pair"].nunique() < 5:
            continue
        for name, words in _GAPS.items():
            result = spearmanr(own[name], own["difference"])
            lines.append([str(arm), words, number(result.statistic, "+.2f"), number(result.pvalue, ".2g")])
    if lines:
        yield "Does a gap, or the angle, order the differences? Spearman's rank correlation over pairs, unadjusted:"
        yield markdown_table(("arm", "with", "rank correlation", "p"), lines)
