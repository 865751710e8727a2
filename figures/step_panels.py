"""The panels of steps that were taken: what first order predicted of them, and where it ends."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from figures.style import COLOURS, DASHED, DOTTED, INK
from records import Measurement

SHOWN_LOSSES = ("standard", "language", "visual")
MARKS = {"sgd": ("o", "-"), "adamw": ("s", DASHED), "after": ("D", DOTTED)}
FIRST_ORDER = 0.2  # relative error up to which a change counts as that


def draw_row(axes: Sequence[Axes], record: Measurement) -> None:
    """Draw predicted against measured change, and their slope and relative error against the rate."""
    draw_steps(axes[0], record.tables["step_changes"], record.tables["step_fits"])
    axes[0].set_title("(g) steps taken, a point a bin; filled: first order")
    draw_reach(axes[1], record.tables["step_fits"], "slope")
    axes[1].axhline(1, color=INK, linewidth=0.8, linestyle=DOTTED)
    axes[1].set_ylim(-0.6, 2.1)  # beyond, nothing is left of first order
    axes[1].set_ylabel("slope of measured on predicted")
    axes[1].set_title("(h) slope over the bins")
    draw_reach(axes[2], record.tables["step_fits"], "relative_error")
    axes[2].axhline(FIRST_ORDER, color=INK, linewidth=0.8, linestyle=DOTTED)
    axes[2].set_yscale("log")
    axes[2].set_ylabel("relative error")
    axes[2].set_title(f"(i) relative error; below {FIRST_ORDER:g}: first order")


def draw_steps(ax: Axes, changes: pd.DataFrame, fits: pd.DataFrame) -> None:
    """Draw measured against predicted change, a point a step, loss and bin; filled where that was first-order."""
    held = fits.assign(is_first_order=fits["relative_error"] <= FIRST_ORDER)[["step", "lr", "loss", "is_first_order"]]
    numbered = changes[changes["bin"].str.isdigit() & changes["loss"].isin(SHOWN_LOSSES)]
    for (step, loss, filled), rows in numbered.merge(held).groupby(["step", "loss", "is_first_order"]):
        colour = COLOURS[str(loss)]
        inside = colour if filled else "none"
        points = rows["predicted_nats"], rows["measured_nats"]
        ax.plot(*points, MARKS[str(step)][0], color=colour, mfc=inside, ms=2.8, mew=0.6, alpha=0.7)
    both = numbered[["predicted_nats", "measured_nats"]].to_numpy().ravel()
    sides = [-np.nanmax(np.abs(both)), *np.nanquantile(np.abs(both), [0.1, 1.0])]
    line = np.sort([*sides, -sides[1]])
    ax.plot(line, line, color=INK, linewidth=0.8, linestyle=DOTTED)
    for axis in (ax.xaxis, ax.yaxis):
        both_ways(axis, both)
    ax.set_xlabel("predicted change (nats)")
    ax.set_ylabel("measured change (nats)")
    marks = {step: MARKS[step][0] for step in numbered["step"].unique()}
    ax.legend(handles=_entries(marks), loc="lower right", handletextpad=0.2, labelspacing=0.25)


def draw_reach(ax: Axes, fits: pd.DataFrame, column: str) -> None:
    """Draw a statistic of predicted and measured change over the bins against the rate; without one, at the right."""
    for (step, loss), rows in fits[fits["loss"].isin(SHOWN_LOSSES)].groupby(["step", "loss"]):
        mark, style = MARKS[str(step)]
        if rows["lr"].notna().all():
            ax.plot(rows["lr"], rows[column], color=COLOURS[str(loss)], marker=mark, linestyle=style, ms=3.2)
        else:
            ax.axhline(rows[column].iloc[0], color=COLOURS[str(loss)], linestyle=style, linewidth=1.0)
    if fits["lr"].notna().any():
        ax.set_xscale("log")
    ax.set_xlabel("learning rate")


def both_ways(axis: Axis, values: ArrayLike) -> None:
    """Make an axis logarithmic either way from zero, linear below most values, with a few plain ticks."""
    sizes = np.abs(np.asarray(values, dtype=float))
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return
    least, greatest = (int(np.floor(np.log10(size))) for size in (np.quantile(sizes, 0.3), sizes.max()))
    set_scale = axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale
    set_scale("symlog", linthresh=10.0**least, linscale=0.5)
    decades = 10.0 ** np.arange(greatest, least, -max(-(-(greatest - least) // 2), 1))
    axis.set_ticks([*-decades, 0.0, *decades])
    axis.set_minor_locator(NullLocator())
    axis.axes.autoscale()


def _entries(marks: Mapping[str, str]) -> list[Line2D]:
    steps = [Line2D([], [], color=INK, marker=mark, ls="none", ms=3.6, label=step) for step, mark in marks.items()]
    return steps + [
        Line2D([], [], color=COLOURS[loss], marker="o", ls="none", ms=3.6, label=loss) for loss in SHOWN_LOSSES
    ]
