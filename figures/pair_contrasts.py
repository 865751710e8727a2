"""What steering changes on each pair, contrast by contrast: the difference with its interval.

    python -m figures figures/gallery/phases_accuracy pair_contrasts
    python -m figures figures/gallery/phases_accuracy pair_contrasts --quantity standard

Reads the table `phases` of a record written by `python -m study.phases`. One panel for each pair, one row for each two
arms that are compared. Bars are 95 % intervals by Student's t over the seeds' differences. A point is full where the
interval excludes 0, grey where the two arms are equivalent, and otherwise open.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import panels
from figures.arms import STANDARD
from figures.fitting import finish
from figures.phase_diagram import DECIDED, compared, seeds_words, sign, unit_words
from figures.sheets import sheet
from figures.style import INK, NULL_GREY, arm_colour, styled
from records import Measurement

ROW_IN = 0.26  # height for each contrast
OTHER_IN = 0.5  # height of a panel's title, numbers and label
COUNTS, EQUIVALENT, OPEN = "95 % interval excludes 0", "equivalent", "undecided or not judged"
KINDS = {COUNTS: INK, EQUIVALENT: NULL_GREY, OPEN: "white"}
"""The inside of a point, by what the row counts as; the first is the arm's colour."""


def kind(counts_as: str) -> str:
    """Return which of `KINDS` a verdict is drawn as."""
    return COUNTS if counts_as in DECIDED else EQUIVALENT if counts_as == EQUIVALENT else OPEN


def contrast_name(arm: str, against: str) -> str:
    """Return what is compared; two arms with long names on two lines."""
    between = " " if against == STANDARD else "\n"
    return f"{arm}{between}\u2212 {against}"


def draw_pair(ax: Axes, rows: pd.DataFrame, contrasts: Sequence[tuple[str, str]]) -> None:
    """Draw the contrasts of one pair, each at its place among all of them; what the pair lacks stays empty."""
    ax.axvline(0, color=NULL_GREY, linewidth=0.9, zorder=1)
    for row in rows.to_dict("records"):
        place = contrasts.index((row["arm"], row["against"]))
        colour, inside = arm_colour(row["arm"]), KINDS[kind(row["counts_as"])]
        ax.hlines(place, row["low"], row["high"], color=colour, linewidth=1.3, zorder=2)
        look: dict[str, Any] = {"marker": "o", "ls": "none", "ms": 5, "mec": colour, "zorder": 3}
        ax.plot([row["difference"]], [place], mfc=colour if inside == INK else inside, **look)


def legend_entries(rows: pd.DataFrame) -> list[Line2D]:
    """Return one handle for each kind of point that is drawn."""
    drawn = {kind(counts_as) for counts_as in rows["counts_as"]}
    look: dict[str, Any] = {"marker": "o", "ls": "none", "ms": 5, "mec": INK}
    return [Line2D([], [], mfc=inside, label=name, **look) for name, inside in KINDS.items() if name in drawn]


def draw(record: Measurement, quantity: str = "correct") -> Figure:
    """Draw all contrasts of a record, one panel for each pair.

    Raises:
        RecordError: there is no such quantity, or no pair.
    """
    rows = compared(record, quantity)
    contrasts = list(dict.fromkeys(zip(rows["arm"], rows["against"], strict=True)))
    by_pair = [(str(pair), own) for pair, own in rows.groupby("pair", sort=False)]
    with styled():
        across = sheet().across(min(len(by_pair), 3))
        height = OTHER_IN + ROW_IN * len(contrasts)
        figure, axes = panels.grid(len(by_pair), across, (height,), sharex=True, sharey=True)
        for ax, (pair, own) in zip(axes, by_pair, strict=True):
            draw_pair(ax, own, contrasts)
            gaps = (f"{own[f'{gap}_gap_nats'].iloc[0]:.2f}" for gap in ("visual", "language"))
            ax.set_title(f"{pair}: gaps {' and '.join(gaps)}")
        axes[0].set_yticks(range(len(contrasts)), [contrast_name(*two) for two in contrasts])
        axes[0].set_ylim(len(contrasts) - 0.4, -0.6)
        for ax in axes[-across:]:
            ax.set_xlabel(f"{unit_words(quantity)} ({'right' if sign(quantity) > 0 else 'left'}: better)")
        gap_words = "gaps: visual and language loss before training, bins 7-9 (nats)"
        title = "What steering changes, pair by pair"
        finish(figure, title, gap_words, seeds_words(rows), handles=legend_entries(rows))
    return figure
