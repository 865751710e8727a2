"""What changed between two students of one teacher: losses, angles and answers.

    python -m figures runs/compare-0123456789ab
    python -m figures runs/compare-0123456789ab before_after --scope language_model --out pictures

Reads a record written by `python -m probes.compare`: `changes`, and `angle_changes` and `accuracy_changes` where it has
them. The panels show the change of the losses and of the angles by VDS bin, and accuracy before and after. Bars are
95 % intervals of the mean change over pairs (the same tokens, the same prompts), over prompts. To the right of the
bins stand all of them together, and the tokens of prompts without a picture.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

from figures import panels
from figures.accuracy import ROW_IN
from figures.fitting import finish
from figures.selection import check_choice
from figures.sheets import sheet
from figures.style import COLOURS, DASHED, INK, NULL_GREY, styled
from records import SCOPES, Measurement

LOSSES = (
    panels.Series("kl_standard", "standard", COLOURS["standard"]),
    panels.Series("kl_language", "language", COLOURS["language"]),
    panels.Series("kl_visual", "visual", COLOURS["visual"]),
    panels.Series("student_vds", "student's own dependence", NULL_GREY),
)
HEADING = -1.0  # where the heading of the numbers stands, in rows
SPREAD = 0.16  # between the points of one bin, in bins
STRAIGHT = 0.02  # share of the largest change within which the axis of the losses is straight, beyond it logarithmic


def draw_points(ax: Axes, rows: pd.DataFrame, several: Sequence[panels.Series], unit: str) -> None:
    """Draw mean changes with their intervals, the points of one bin side by side."""
    for number, series in enumerate(several):
        x = np.arange(len(rows)) + SPREAD * (number - (len(several) - 1) / 2)
        mean, low, high = (rows[f"{series.name}_change_{end}_{unit}"] for end in ("mean", "low", "high"))
        panels.interval(ax, x, low, high, colour=series.colour)
        look: dict[str, Any] = {"color": series.colour, "mfc": series.inside, "label": series.label}
        ax.plot(x, mean, linestyle="none", marker="o", ms=3.6, zorder=4, **look)


def name_bins(ax: Axes, rows: pd.DataFrame) -> None:
    """Name the bins, separate the other columns from them, and draw the line of no change."""
    ax.axhline(0, color=INK, linewidth=0.8, zorder=1)
    numbered = int(rows["bin"].str.isdigit().sum())
    ax.axvline(numbered - 0.5, color=NULL_GREY, linewidth=0.6, linestyle=DASHED, zorder=1)
    ax.set_xticks(range(len(rows)), rows["bin"])
    ax.set_xlim(-0.6, len(rows) - 0.4)
    ax.set_xlabel("VDS bin (0 = least visual)")


def straight_about_zero(ax: Axes, changes: np.ndarray) -> None:
    """Make the vertical axis logarithmic except near 0, to show bins whose losses differ by powers of ten."""
    largest = float(np.nanmax(np.abs(changes), initial=0.0))
    ax.set_ylabel("mean change (nats), after less before")
    if largest > 0:
        straight = 10.0 ** math.floor(math.log10(STRAIGHT * largest))
        ax.set_yscale("symlog", linthresh=straight, linscale=0.6)
        panels.plain_ticks(ax.yaxis)
        ax.margins(y=0.08)
        ax.set_ylabel(f"mean change (nats), after less before\n(straight within \u00b1{straight:g}, then logarithmic)")


def draw_losses(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the mean change of each loss."""
    draw_points(ax, rows, LOSSES, "nats")
    name_bins(ax, rows)
    straight_about_zero(ax, rows[[f"{loss.name}_change_mean_nats" for loss in LOSSES]].to_numpy())
    ax.set_title("(a) losses on the same tokens")
    ax.legend()


def draw_angles(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the mean change of each angle."""
    draw_points(ax, rows, panels.ANGLES, "deg")
    name_bins(ax, rows)
    ax.set_ylabel("mean change (degrees), after less before")
    ax.legend()
    ax.set_title("(b) angles of the gradients at the same tokens")


def draw_accuracy(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw accuracy before and after, one line for each group."""
    y = np.arange(len(rows))
    before, after = (rows[f"accuracy_{side}_mean_percent"] for side in ("before", "after"))
    ax.hlines(y, before, after, color=INK, linewidth=1.0, zorder=3)
    ax.plot(before, y, linestyle="none", marker="o", color=INK, mfc="white", ms=5.0, zorder=4, label="before")
    ax.plot(after, y, linestyle="none", marker="o", color=INK, ms=3.6, zorder=5, label="after")
    name_groups(ax, rows)
    ax.set_xlabel("greedy accuracy (%)")
    ax.set_title("(c) answers")
    ax.legend()


def draw_accuracy_change(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the change of accuracy in each group with its interval, and how many answers were gained and lost."""
    y = np.arange(len(rows))
    mean, low, high = (rows[f"accuracy_change_{end}_percent"] for end in ("mean", "low", "high"))
    ax.axvline(0, color=INK, linewidth=0.8, zorder=1)
    ax.hlines(y, low, high, color=INK, linewidth=1.0, zorder=3)
    ax.plot(mean, y, linestyle="none", marker="o", color=INK, ms=3.6, zorder=4)
    name_groups(ax, rows)
    for place, counts in enumerate(zip(rows["n_gained"], rows["n_lost"], strict=True)):
        words = "+{} \u2212{}".format(*counts)
        ax.annotate(words, (1.0, place), xycoords=("axes fraction", "data"), va="center", ha="right")
    ax.annotate("gained, lost", (1.0, HEADING), xycoords=("axes fraction", "data"), va="center", ha="right")
    least, most = min(0.0, float(low.min())), max(0.0, float(high.max()))
    ax.set_xlim(least - 0.05 * (most - least), most + (0.6 if sheet().narrow else 0.35) * (most - least) + 0.1)
    ax.set_xlabel("change (percentage points)")
    ax.set_title("(d) change of the answers")


def name_groups(ax: Axes, rows: pd.DataFrame) -> None:
    """Name the groups of prompts beside the axis, the first on top, with a line between kinds of groups."""
    ax.set_yticks(range(len(rows)), [group_name(row) for row in rows.to_dict("records")])
    kinds = rows["by"].to_numpy()
    for place in np.flatnonzero(kinds[1:] != kinds[:-1]):
        ax.axhline(place + 0.5, color=NULL_GREY, linewidth=0.6, linestyle=DASHED, zorder=1)
    ax.set_ylim(len(rows) - 0.4, HEADING - 0.5)


def group_name(row: Mapping) -> str:
    """Return a group as it is read, with how many prompts it has.

    >>> group_name({"by": "dependency", "name": "high", "n_prompts": 140})
    'high dependency (140)'
    """
    dependency = "text alone" if row["name"] == "text" else f"{row['name']} dependency"
    name = {"all": "all prompts", "dependency": dependency}.get(row["by"], row["name"])
    return f"{name} ({row['n_prompts']})"


def scoped(record: Measurement, scope: str) -> pd.DataFrame | None:
    """Return the changes of the angles in a scope, if angles were measured."""
    check_choice("scope", scope, SCOPES)
    angles = record.table("angle_changes") if record.has("angle_changes") else None
    return None if angles is None else angles[angles["scope"] == scope].reset_index(drop=True)


def caption(record: Measurement) -> str:
    """Name both students and their teacher."""
    pair = record.header["pair"]
    before, after = pair["student"]
    return f"before: {before} \u00b7 after: {after} \u00b7 teacher: {pair['teacher']}"


def draw(record: Measurement, scope: str = "all") -> Figure:
    """Draw the changes of a record that has the table `changes`; angles and accuracy where it has them."""
    angles = scoped(record, scope)
    answers = record.table("accuracy_changes") if record.has("accuracy_changes") else pd.DataFrame()
    with styled():
        heights_in = [sheet().inches(2.2), sheet().inches(0.7 + ROW_IN * (len(answers) + 1))][
            : 2 if len(answers) else 1
        ]
        height_in = sum(heights_in) * (2 if sheet().narrow else 1)
        figure = Figure(figsize=(sheet().width_in, height_in), layout="constrained")
        lines = figure.add_gridspec(len(heights_in), 1, height_ratios=heights_in)
        upper = _side_by_side(lines[0], 1 if angles is None else 2)
        draw_losses(upper[0], record.table("changes"))
        if angles is not None:
            draw_angles(upper[1], angles)
        if len(answers):
            left, right = _side_by_side(lines[1], 2)
            draw_accuracy(left, answers)
            draw_accuracy_change(right, answers)
            if not sheet().narrow:
                right.set_yticklabels([])
        responses = f"responses of {record.header['settings']['rollouts_of']}"
        finish(figure, "Before and after", caption(record), responses)
    return figure


def _side_by_side(place: SubplotSpec, n_panels: int) -> list[Axes]:
    """Return panels in a place of the figure: side by side, in a column one below the other."""
    across = sheet().across(n_panels)
    return list(place.subgridspec(n_panels // across, across).subplots(squeeze=False).flat)
