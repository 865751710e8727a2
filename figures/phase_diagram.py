"""When does steering help? Each pair at its two gaps, coloured by what an arm changes against standard distillation.

    python -m figures figures/gallery/phases
    python -m figures figures/gallery/phases phase_diagram --quantity language

Reads the table `phases` of a record written by `python -m study.phases`. One panel for each arm. A pair stands at the
language and the visual loss of its untrained student's tokens in bins 7-9. Its colour is the difference between the
arm and standard distillation: of a loss in bins 7-9 the change over the run, blue where the arm lowers it more; of
correct, points of right answers. The number stands beside it. A pair whose 95 % interval excludes 0 has a black rim,
and one that is equivalent to standard a grey rim.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import panels
from figures.arms import STANDARD
from figures.fitting import finish
from figures.selection import check_choice
from figures.sheets import sheet
from figures.style import INK, NULL_GREY, styled
from records import Measurement, RecordError

QUANTITIES = ("standard", "language", "visual", "correct")
DECIDED = ("lower", "higher", "better", "worse")


def compared(record: Measurement, quantity: str) -> pd.DataFrame:
    """Return the rows of a quantity: all pairs and contrasts.

    Raises:
        RecordError: there is no such quantity, or no pair.
    """
    check_choice("quantity", quantity, QUANTITIES)
    rows = record.table("phases")
    rows = rows[rows["quantity"] == quantity]
    if rows.empty:
        raise RecordError(f"`{record.path}` has no pair: run some with `python -m study.phases`")
    return rows


def against_standard(record: Measurement, quantity: str) -> pd.DataFrame:
    """Return the rows of a quantity that compare an arm with standard distillation; raises as `compared`."""
    rows = compared(record, quantity)
    return rows[rows["against"] == STANDARD]


def unit_words(quantity: str) -> str:
    """Return what a difference is counted in."""
    return "points of right answers" if quantity == "correct" else f"nats of the {quantity} loss in bins 7-9"


def seeds_words(rows: pd.DataFrame) -> str:
    """Return how many seeds two compared arms share, as words of a caption.

    >>> seeds_words(pd.DataFrame({"n_seeds": [8, 6, 8]}))
    'seeds that both arms have: 6 to 8'
    """
    ends = dict.fromkeys((int(rows["n_seeds"].min()), int(rows["n_seeds"].max())))
    return f"seeds that both arms have: {' to '.join(map(str, ends))}"


def sign(quantity: str) -> float:
    """Return -1 for a loss, which is better where it is lower, and 1 for right answers."""
    return 1.0 if quantity == "correct" else -1.0


def draw_arm(ax: Axes, rows: pd.DataFrame, norm: TwoSlopeNorm, quantity: str) -> None:
    """Draw the pairs of one arm."""
    for row in rows.to_dict("records"):
        rim = INK if row["counts_as"] in DECIDED else NULL_GREY if row["counts_as"] == "equivalent" else "none"
        x, y = row["language_gap_nats"], row["visual_gap_nats"]
        colour = sign(quantity) * row["difference"]
        ax.scatter([x], [y], c=[colour], cmap="RdBu", norm=norm, s=90, edgecolors=rim, linewidths=1.3, zorder=3)
        digits = 1 if quantity == "correct" else 3
        ax.annotate(f"{row['difference']:+.{digits}f}", (x, y), (0, 8), textcoords="offset points", ha="center")
    ax.margins(0.2)


def legend_entries(rows: pd.DataFrame) -> list[Line2D]:
    """Return one handle for each kind of rim that is drawn."""
    rims = {INK: ("95 % interval excludes 0", rows["counts_as"].isin(DECIDED))}
    rims[NULL_GREY] = ("equivalent to standard", rows["counts_as"] == "equivalent")
    look: dict[str, Any] = {"ls": "none", "marker": "o", "mfc": "white", "ms": 7, "mew": 1.3}
    return [Line2D([], [], color=rim, label=label, **look) for rim, (label, drawn) in rims.items() if drawn.any()]


def draw(record: Measurement, quantity: str = "standard") -> Figure:
    """Draw all pairs of a record, one panel for each arm.

    Raises:
        RecordError: see `compared`.
    """
    rows = against_standard(record, quantity)
    arms = list(dict.fromkeys(rows["arm"]))
    most = float(np.nanmax(np.abs(rows["difference"]))) or 1.0
    norm = TwoSlopeNorm(0.0, -most, most)
    unit = unit_words(quantity)
    with styled():
        across = sheet().across(min(len(arms), 3))
        figure, axes = panels.grid(len(arms), across, (2.5,), sharex=True, sharey=True)
        for ax, arm in zip(axes, arms, strict=True):
            draw_arm(ax, rows[rows["arm"] == arm], norm, quantity)
            ax.set_title(f"{arm} \u2212 standard")
        for ax in axes[::across]:
            ax.set_ylabel("visual gap: visual loss, bins 7-9 (nats)")
        for ax in axes[-across:]:
            ax.set_xlabel("language gap: language loss, bins 7-9 (nats)")
        bar = figure.colorbar(axes[-1].collections[0], ax=axes, shrink=0.85)
        bar.set_label(f"for the better ({unit})")
        title = "When steering helps: pairs by their gaps"
        finish(figure, title, f"numbers: {unit}", seeds_words(rows), handles=legend_entries(rows))
    return figure
