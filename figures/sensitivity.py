"""What a step would do to held-out responses, by gamma, lambda and dependence on the picture.

    python -m figures runs/sensitivity-0123456789ab
    python -m figures runs/sensitivity-0123456789ab sensitivity --prior attached --out pictures

Reads the tables of a record written by `python -m probes.sensitivity`. The step is standard + gamma visual + lambda
gated language (vgs-lp, arXiv:2606.00564, Eq. 17). Changes are for a learning rate of one, with 95 % intervals over
prompts. Where steps were taken, a third row compares predicted with measured change, one point for each VDS bin, and
shows where first order ends.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from figures import captions, panels
from figures.fitting import finish
from figures.selection import check_choice
from figures.sheets import sheet
from figures.style import COLOURS, DASHED, DOTTED, INK, NULL_GREY, styled
from geometry.objective_settings import GAMMA
from records import Measurement
from records.tables.forecast import FIRST_ORDER, PRIORS

SHOWN_GAMMAS = (0.0, GAMMA, 4.0)
GROUPS = {"high": ("upper bins", "-", 0.16), "all": ("all bins", DASHED, 0.0)}
"""The label of a group of bins, its line, and how strongly its interval is painted."""
ANGLES = {  # column: label, colour, line
    "standard": ("standard", COLOURS["standard"], "-"),
    "language": ("language", COLOURS["language"], "-"),
    "gated_language": ("gated language", COLOURS["language"], DOTTED),
    "visual": ("visual, detached", COLOURS["visual"], "-"),
    "visual_attached": ("visual, attached", COLOURS["visual"], DASHED),
    "prior": ("prior", COLOURS["prior"], "-"),
    "shift": ("shift", COLOURS["shift"], "-"),
}
SHOWN_LOSSES = ("standard", "language", "visual")
MARKS = {"sgd": ("o", "-"), "adamw": ("s", DASHED), "after": ("D", DOTTED)}


def rows_of(record: Measurement, table: str, prior: str) -> pd.DataFrame:
    """Return a table's rows of one prior."""
    check_choice("prior", prior, PRIORS)
    rows = record.table(table)
    return rows[rows["prior"] == prior]


def draw_by_gamma(ax: Axes, rows: pd.DataFrame, loss: str) -> None:
    """Draw the change of a loss against gamma: upper bins with their interval, and all; other lambdas thin."""
    for group, (name, style, strength) in GROUPS.items():
        inside = rows[(rows["bin"] == group) & (rows["lambda"] == 0)]
        mean, low, high = (inside[f"d_{loss}_{end}_nats"] for end in ("mean", "low", "high"))
        ax.fill_between(inside["gamma"], low, high, color=COLOURS[loss], alpha=strength, linewidth=0)
        ax.plot(inside["gamma"], mean, color=COLOURS[loss], linestyle=style, label=name)
    strongest = rows[(rows["bin"] == "high") & (rows["lambda"] == rows["lambda"].max())]
    label = f"upper bins, lambda {rows['lambda'].max():g}"
    ax.plot(
        strongest["gamma"], strongest[f"d_{loss}_mean_nats"], color=INK, linewidth=0.9, linestyle=DOTTED, label=label
    )
    _zero(ax)
    ax.set_xlabel("gamma")
    ax.set_ylabel("change (nats / unit rate)")
    ax.legend()


def draw_by_bin(ax: Axes, rows: pd.DataFrame, loss: str) -> None:
    """Draw the change of a loss by bin at three gammas, with intervals."""
    numbered = rows[rows["bin"].str.isdigit() & (rows["lambda"] == 0)]
    for place, gamma in enumerate(SHOWN_GAMMAS):
        inside = numbered[numbered["gamma"] == gamma]
        x = inside["bin"].astype(int) + 0.22 * (place - 1)
        colour = _mixed(COLOURS[loss], 0.4 + 0.3 * place)
        panels.interval(ax, x, inside[f"d_{loss}_low_nats"], inside[f"d_{loss}_high_nats"], colour=colour)
        ax.plot(x, inside[f"d_{loss}_mean_nats"], "o", color=colour, ms=3.6, label=f"gamma {gamma:g}", zorder=4)
    _zero(ax)
    panels.logarithmic_both_ways(ax.yaxis, numbered[f"d_{loss}_mean_nats"])
    ax.set_xticks(sorted(numbered["bin"].astype(int).unique()))
    ax.set_xlabel("VDS bin (0 = least visual)")
    ax.legend()


def draw_eta(ax: Axes, record: Measurement) -> None:
    """Draw the factor that gives the steered gradient the length of the standard one."""
    for prior, style in zip(PRIORS, ("-", DASHED), strict=True):
        rows = rows_of(record, "steering", prior)
        rows = rows[rows["lambda"] == 0]
        ax.plot(rows["gamma"], rows["eta"], color=COLOURS["visual"], linestyle=style, label=f"q* {prior}")
    ax.set_ylim(0, 1.05)
    ax.set_xlabel("gamma")
    ax.set_ylabel("eta")
    ax.legend()


def draw_angles(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the angles between the steered direction and that of each objective."""
    inside = rows[rows["lambda"] == 0]
    for name, (label, colour, style) in ANGLES.items():
        ax.plot(inside["gamma"], inside[f"angle_{name}_deg"], color=colour, linestyle=style, label=label)
    panels.right_angle(ax)
    ax.set_ylim(0, 180)
    ax.set_yticks(range(0, 181, 30))
    ax.set_xlabel("gamma")
    ax.set_ylabel("angle (degrees)")
    ax.legend()


def draw_step_row(axes: Sequence[Axes], record: Measurement) -> None:
    """Draw predicted against measured change, and their slope and relative error against the rate."""
    draw_steps(axes[0], record.table("step_changes"), record.table("step_fits"))
    axes[0].set_title("(g) steps taken, one point per bin")
    draw_reach(axes[1], record.table("step_fits"), "slope")
    axes[1].axhline(1, color=INK, linewidth=0.8, linestyle=DOTTED)
    axes[1].set_ylim(-0.6, 2.1)  # beyond, nothing is left of first order
    axes[1].set_ylabel("slope of measured on predicted")
    axes[1].set_title("(h) slope over the bins")
    draw_error(axes[2], record.table("step_fits"))
    axes[2].set_title("(i) relative error of the forecast")


def draw_error(ax: Axes, fits: pd.DataFrame) -> None:
    """Draw the relative error of the forecast over the bins against the rate, and where first order ends."""
    draw_reach(ax, fits, "relative_error")
    limit = ax.axhline(
        FIRST_ORDER, color=INK, linewidth=0.8, linestyle=DOTTED, label=f"{FIRST_ORDER:g}: first order ends"
    )
    ax.set_yscale("log")
    panels.plain_ticks(ax.yaxis)
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylabel("relative error")
    ax.legend(handles=[limit])


def draw_steps(ax: Axes, changes: pd.DataFrame, fits: pd.DataFrame) -> None:
    """Draw measured against predicted change, one point per step, loss and bin; filled where first order held."""
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
        panels.logarithmic_both_ways(axis, both)
    ax.set_xlabel("predicted change (nats)")
    ax.set_ylabel("measured change (nats)")
    first_order = held["is_first_order"]
    ax.legend(
        handles=[*_entries(numbered["step"].unique()), *_kinds(bool(first_order.any()), bool((~first_order).any()))]
    )


def draw_reach(ax: Axes, fits: pd.DataFrame, column: str) -> None:
    """Draw a statistic of the fit over the bins against the rate; a step without a rate is a horizontal line."""
    for (step, loss), rows in fits[fits["loss"].isin(SHOWN_LOSSES)].groupby(["step", "loss"]):
        mark, style = MARKS[str(step)]
        if rows["lr"].notna().all():
            ax.plot(rows["lr"], rows[column], color=COLOURS[str(loss)], marker=mark, linestyle=style, ms=3.2)
        else:
            ax.axhline(rows[column].iloc[0], color=COLOURS[str(loss)], linestyle=style, linewidth=1.0)
    if fits["lr"].notna().any():
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(numticks=4))
        ax.xaxis.set_minor_locator(NullLocator())
        panels.plain_ticks(ax.xaxis)
    ax.set_xlabel("learning rate")


def prompts(record: Measurement) -> str:
    """Say on how many prompts directions and losses were measured."""
    notes = record.record["notes"]
    return f"directions of {notes['prompts_of_directions']} prompts, losses of {notes['prompts_of_forecast']} others"


def draw(record: Measurement, prior: str = "detached") -> Figure:
    """Draw the forecast for one kind of q*, and the steps that were taken where the record has them."""
    rows = rows_of(record, "forecast", prior)
    has_steps = record.has("step_fits")
    with styled():
        figure, axes = panels.grid(9 if has_steps else 6, sheet().across(3, 2), (1.75,))
        for row, (letters, loss) in zip((axes[:3], axes[3:6]), (("abc", "language"), ("def", "visual")), strict=True):
            draw_by_gamma(row[0], rows, loss)
            row[0].set_title(f"({letters[0]}) {loss} loss{', target moving along' if loss == 'visual' else ''}")
            draw_by_bin(row[1], rows, loss)
            row[1].set_title(f"({letters[1]}) {loss} loss by bin")
        draw_eta(axes[2], record)
        axes[2].set_title("(c) eta (inert under Adam)")
        draw_angles(axes[5], rows_of(record, "steering", prior))
        axes[5].set_title("(f) angle of the steered direction to")
        if has_steps:
            draw_step_row(axes[6:], record)
        title = f"What a step of standard + gamma visual would change, q* {prior}; responses held fixed"
        words = (captions.pair(record), prompts(record), rise(record, prior), captions.metric(record))
        finish(figure, title, *words)
    return figure


def rise(record: Measurement, prior: str) -> str:
    """Say from which gamma the language loss of the upper bins rises."""
    rows = rows_of(record, "readings", prior)
    row = rows[rows["reading"] == "gamma_rise"].iloc[0]
    mean, low, high = ("never" if np.isinf(row[end]) else f"{row[end]:.2g}" for end in ("estimate", "low", "high"))
    where = f"rises from gamma {mean}" if mean != "never" else "never rises"
    return f"language loss of the upper bins {where} (95 %: {low} to {high})"


def _zero(ax: Axes) -> None:
    ax.axhline(0, color=NULL_GREY, linewidth=0.8, zorder=1)


def _mixed(colour: str, strength: float) -> str:
    """A colour and white."""
    red, green, blue = (1.0 - strength * (1.0 - part) for part in to_rgb(colour))
    return to_hex((red, green, blue))


def _entries(steps: Iterable[str]) -> list[Line2D]:
    """Handles for the kinds of steps, with their marks and lines, and for the losses."""
    look: dict[str, Any] = {"color": INK, "ms": 3.6, "lw": 1.0}
    marks = [Line2D([], [], marker=MARKS[step][0], ls=MARKS[step][1], label=step, **look) for step in steps]
    return marks + [Line2D([], [], color=COLOURS[loss], label=f"{loss} loss") for loss in SHOWN_LOSSES]


def _kinds(inside: bool, outside: bool) -> list[Line2D]:
    """Handles for points where first order held, and where it did not."""
    look: dict[str, Any] = {"color": INK, "marker": "o", "ls": "none", "ms": 3.6}
    filled = [Line2D([], [], label="first order", **look)] if inside else []
    return filled + ([Line2D([], [], mfc="none", label="beyond it", **look)] if outside else [])
