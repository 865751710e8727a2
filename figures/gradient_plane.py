"""The five gradients as arrows, with true lengths and angles, in the plane of standard and visual.

    python -m figures runs/demo gradient_plane
    python -m figures runs/demo gradient_plane --scope language_model --weigh energy --out pictures

Reads the tables `units` and `grams` of a record written by `python -m probes.angles`. Each VDS bin has a panel.

Standard is visual + prior: the three lie in one plane, and are drawn in it as they are, standard to the right. Language
and shift leave the plane. The full part of their arrow is their projection onto the plane; the faded part continues to
their true length. Lengths and angles are those of the mean Gram matrix of a bin's units. With `--weigh equal`, each
unit's matrix is first divided by the sum of its five squared norms. With `--weigh energy` it is not: a few units with
long gradients decide, and the angles of signed-bins are then the pooled ones (see `docs/units.md`). Dots are the tips
for other samples of the prompts (bootstrap). Each panel has its own scale: its longest gradient is as long as that of
any other.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import captions, panels
from figures.fitting import finish
from figures.selection import check_choice
from figures.sheets import sheet
from figures.style import COLOURS, INK, NULL_GREY, styled
from geometry import Gram
from records import SCOPES, Measurement, RecordError
from records.columns import OBJECTIVES

LANGUAGE_MODEL: Final = r"layer_\d+(\.\w+)?|embedding_head|final_norm"  # its groups
WEIGHTS = ("equal", "energy")
RESAMPLES = 60
STANDARD, LANGUAGE, VISUAL, PRIOR, SHIFT = range(len(OBJECTIVES))


def unit_grams(record: Measurement, scope: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the units that are in a bin, and their Gram matrices `[U, 5, 5]` over the groups of a scope."""
    check_choice("scope", scope, SCOPES)
    units = record.table("units")
    units = units[(units["scope"] == "all") & (units["bin"] >= 0)]
    if units.empty:
        raise RecordError(f"`{record.path}` has no unit in a bin: measure prompts that have a picture")
    rows = record.table("grams")
    rows = rows if scope == "all" else rows[rows["group"].str.fullmatch(LANGUAGE_MODEL)]
    sums = rows.drop(columns="group").groupby("unit_id").sum().loc[units["unit_id"]]
    grams = np.empty((len(units), len(OBJECTIVES), len(OBJECTIVES)))
    for a, one in enumerate(OBJECTIVES):
        for b, other in enumerate(OBJECTIVES[a:], start=a):
            grams[:, a, b] = grams[:, b, a] = sums[f"gram_{one}_{other}"]
    return units, grams


def weighed(grams: np.ndarray, weigh: str) -> np.ndarray:
    """Return the matrices as they enter the mean; of equal units the five squared norms add up to 1."""
    check_choice("weigh", weigh, WEIGHTS)
    traces = np.trace(grams, axis1=1, axis2=2)[:, None, None]
    return grams if weigh == "energy" else np.divide(grams, traces, out=np.zeros_like(grams), where=traces > 0)


def arrows(gram: np.ndarray) -> np.ndarray:
    """Return `[5, 3]` for each gradient: its place in the plane of standard and visual, and its height above it.

    The first axis lies along standard, the second along the rest of visual; the height is without its sign.
    """
    first = _along(gram, gram[STANDARD], gram[STANDARD, STANDARD])
    rest = gram - np.outer(first, first)  # what is left of the products without the first axis
    second = _along(gram, rest[VISUAL], rest[VISUAL, VISUAL])
    height = np.sqrt(np.clip(np.diag(gram) - first**2 - second**2, 0.0, None))
    height[[STANDARD, VISUAL, PRIOR]] = 0.0  # in the plane, up to rounding
    return np.stack([first, second, height], axis=1)


def _along(gram: np.ndarray, products: np.ndarray, square: float) -> np.ndarray:
    """Return components along a direction from the products with a vector in it; 0 where that vector is 0."""
    smallest = 1e-12 * float(np.trace(gram))
    return products / np.sqrt(square) if square > smallest else np.zeros_like(products)


def resampled(grams: np.ndarray, prompts: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return the mean Gram matrix of as many prompts, drawn with replacement."""
    names, member = np.unique(prompts, return_inverse=True)
    counts = np.bincount(draw.integers(len(names), size=len(names)), minlength=len(names))[member]
    return np.average(grams, axis=0, weights=counts)


def true_tip(arrow: np.ndarray) -> np.ndarray:
    """Return where an arrow of the gradient's whole length ends, in the direction of its projection."""
    flat = float(np.hypot(*arrow[:2]))
    return arrow[:2] * np.hypot(flat, arrow[2]) / flat if flat > 0 else arrow[:2]


def draw_arrow(ax: Axes, arrow: np.ndarray, colour: str) -> None:
    """Draw one gradient: its projection full, the rest of its length faded in the same direction."""
    x, y = map(float, arrow[:2])
    if arrow[2] > 0:
        ax.plot(*np.stack([arrow[:2], true_tip(arrow)]).T, color=colour, alpha=0.35, linewidth=2.6, zorder=2)
    shape = {"arrowstyle": "-|>,head_width=0.18,head_length=0.36", "color": colour, "lw": 1.6}
    ax.annotate("", (x, y), (0, 0), arrowprops=shape | {"shrinkA": 0, "shrinkB": 0}, zorder=4)


def draw_bin(ax: Axes, grams: np.ndarray, prompts: np.ndarray) -> None:
    """Draw the gradients of one bin, the longest of them as long as in any other panel."""
    grams = grams / longest(grams.mean(axis=0)) ** 2
    mean = grams.mean(axis=0)
    drawn, draw_ = arrows(mean), np.random.default_rng(0)
    clouds = np.stack([arrows(resampled(grams, prompts, draw_)) for _ in range(RESAMPLES)])
    for number, name in enumerate(OBJECTIVES):
        ax.plot(*clouds[:, number, :2].T, ls="none", marker=".", ms=2.2, mew=0, color=COLOURS[name], alpha=0.35)
    closing = drawn[[VISUAL, STANDARD], :2]
    ax.plot(*closing.T, color=COLOURS["prior"], linewidth=0.9, linestyle=":", zorder=1)
    for number, name in enumerate(OBJECTIVES):
        draw_arrow(ax, drawn[number], COLOURS[name])
    ax.plot([0], [0], marker="o", ms=2.5, color=INK, zorder=5)
    gram = Gram(mean, OBJECTIVES)
    words = f"language, visual {gram.angle_deg('language', 'visual'):.0f}\u00b0\n"
    words += f"standard, visual {gram.angle_deg('standard', 'visual'):.0f}\u00b0\n"
    words += f"language outside {100 * outside(drawn[LANGUAGE]):.0f} %\n"  # and room below it
    ax.text(0.0, 0.0, words, transform=ax.transAxes, va="top", color=INK)


def longest(gram: np.ndarray) -> float:
    """Return the length of the longest gradient; 1 if all are 0."""
    return float(np.sqrt(np.diag(gram).max())) or 1.0


def frame(means: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower left and the upper right corner of what all bins' arrows need."""
    tips = [true_tip(arrow) for mean in means for arrow in arrows(mean / longest(mean) ** 2)]
    corners = np.stack([*tips, np.zeros(2)])
    return corners.min(axis=0) - 0.1, corners.max(axis=0) + 0.1


def outside(arrow: np.ndarray) -> float:
    """Return the share of a gradient's squared length outside the plane; nan of a gradient that is 0."""
    whole = float((arrow**2).sum())
    return float(arrow[2] ** 2) / whole if whole > 0 else np.nan


def legend_entries(means: Sequence[np.ndarray]) -> list[Line2D]:
    """Return a handle for each gradient that is not 0 in all bins, and for each other kind of mark that is drawn."""
    lengths = np.sum([np.diag(mean) for mean in means], axis=0)
    handles = [
        Line2D([], [], color=COLOURS[name], lw=1.8, label=name)
        for name, length in zip(OBJECTIVES, lengths, strict=True)
        if length > 0
    ]
    if any(arrows(mean)[:, 2].any() for mean in means):
        handles.append(Line2D([], [], color=NULL_GREY, lw=2.6, alpha=0.5, label="length outside the plane"))
    handles.append(Line2D([], [], color=COLOURS["prior"], lw=0.9, ls=":", label="visual + prior = standard"))
    return [*handles, Line2D([], [], color=NULL_GREY, ls="none", marker=".", label="other samples of the prompts")]


def draw(record: Measurement, scope: str = "all", weigh: str = "equal") -> Figure:
    """Draw the bins of a record that has the tables `units` and `grams`."""
    units, grams = unit_grams(record, scope)
    entering, bins = weighed(grams, weigh), sorted(units["bin"].unique())
    with styled():
        figure, axes = panels.grid(len(bins), sheet().across(5, 2), (1.7,))
        members = [(units["bin"] == bin_).to_numpy() for bin_ in bins]
        low, high = frame([entering[inside].mean(axis=0) for inside in members])
        for ax, bin_, inside in zip(axes, bins, members, strict=True):
            draw_bin(ax, entering[inside], units.loc[inside, "prompt_id"].to_numpy(dtype=str))
            ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
            ax.set_axis_off()
            length = float(np.sqrt(grams[inside].mean(axis=0)[STANDARD, STANDARD]))
            ax.set_title(f"bin {bin_}: |standard| {length:.3g}")
        title = "Gradients in the plane of standard and visual, by dependence on the picture"
        words = (
            captions.pair(record),
            captions.parameters(scope),
            f"units: {weigh}",
            captions.metric(record),
            captions.sketch(record, scope),
        )
        handles = legend_entries([entering[inside].mean(axis=0) for inside in members])
        finish(figure, title, *words, "|standard|: root mean square", handles=handles)
    return figure
