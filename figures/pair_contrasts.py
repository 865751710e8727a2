"""What steering changes on each pair, contrast by contrast: the difference with its interval.

    python -m figures figures/gallery/phases_accuracy pair_contrasts
    python -m figures figures/gallery/phases_accuracy pair_contrasts --quantity standard

Reads the table `phases` of a record written by `python -m study.phases`. One panel for each pair, one row for each two
arms that are compared. Bars are 95 % intervals by Student's t over the seeds' differences. A point is full where the
interval excludes 0, grey where the two arms are equivalent, and otherwise open.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import panels
from figures.fitting import finish
from figures.phase_diagram import DECIDED, compared, unit_words
from figures.sheets import sheet
from figures.style import INK, NULL_GREY, arm_colour, styled
from records import Measurement

ROW_IN = 0.26  # height for each contrast
OTHER_IN = 0.5  # height of a panel's title, numbers and label
OPEN = "undecided or not judged"
KINDS = {"95 % interval excludes 0": INK, "equivalent": NULL_GREY, OPEN: "white"}
"""The inside of a point, by what the row counts as."""


def kind(counts_as: str) -> str:
    """Return which of `KINDS` a verdict is drawn as."""
    return next(iter(KINDS)) if counts_as in DECIDED else counts_as if counts_as in KINDS else OPEN


def contrast_name(row: Mapping[str, Any]) -> str:
    """Return what is compared; two arms with long names on two lines."""
    between = " " if row["against"] == "standard" else "\n"
    return f"{row['arm']}{between}\u2212 {row['against']}"


def draw_pair(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the contrasts of one pair, the first on top, and name them beside the axis."""
    ax.axvline(0, color=NULL_GREY, linewidth=0.9, zorder=1)
    for place, row in enumerate(rows.to_dict("records")):
        colour, inside = arm_colour(row["arm"]), KINDS[kind(row["counts_as"])]
        ax.hlines(place, row["low"], row["high"], color=colour, linewidth=1.3, zorder=2)
        look = {"marker": "o", "ls": "none", "ms": 5, "mec": colour, "zorder": 3}
        ax.plot([row["difference"]], [place], mfc=colour if inside == INK else inside, **look)
    ax.set_yticks(range(len(rows)), [contrast_name(row) for row in rows.to_dict("records")])
    ax.set_ylim(len(rows) - 0.4, -0.6)


def legend_entries(rows: pd.DataFrame) -> list[Line2D]:
    """Return one handle for each kind of point that is drawn."""
    drawn = {kind(counts_as) for counts_as in rows["counts_as"]}
    look = {"marker": "o", "ls": "none", "ms": 5, "mec": INK}
    return [Line2D([], [], mfc=inside, label=name, **look) for name, inside in KINDS.items() if name in drawn]


def draw(record: Measurement, quantity: str = "correct") -> Figure:
    """Draw all contrasts of a record, one panel for each pair.

    Raises:
        RecordError: there is no such quantity, or no pair.
    """
    rows = compared(record, quantity)
    by_pair = dict(tuple(rows.groupby("pair", sort=False)))
    most = max(len(own) for own in by_pair.values())
    with styled():
        across = sheet().across(min(len(by_pair), 3))
        height = OTHER_IN + ROW_IN * most
        figure, axes = panels.grid(len(by_pair), across, (height,), sharex=True, sharey=True)
        for ax, (pair, own) in zip(axes, by_pair.items(), strict=True):
            draw_pair(ax, own)
            gaps = (f"{own[f'{gap}_gap_nats'].iloc[0]:.2f}" for gap in ("visual", "language"))
            ax.set_title(f"{pair}: gaps {' and '.join(gaps)}")
        for ax in axes[-across:]:
            ax.set_xlabel(unit_words(quantity))
        seeds = sorted({int(n) for n in rows["n_seeds"]})
        words = f"seeds of each arm: {' to '.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))}"
        gap_words = "gaps: visual and language loss before training, bins 7-9 (nats)"
        finish(figure, "What steering changes, pair by pair", gap_words, words, handles=legend_entries(rows))
    return figure
