"""The pieces that figures are made of: each draws on an `ax` and returns nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import ArrayLike

from figures.sheets import sheet
from figures.style import COLOURS, DASHED, DOTTED, INK, NULL_GREY, PAPER_INK

SPREAD_WIDTH = 0.6  # of the lines about a mean, in points


@dataclass(frozen=True)
class Series:
    """How a quantity is drawn wherever it is: its name in records, its label and colour, open or full points."""

    name: str
    label: str
    colour: str
    hollow: bool = False

    @property
    def inside(self) -> str:
        """The colour inside its points."""
        return "white" if self.hollow else self.colour


ANGLES = (
    Series("angle_language_visual", "language and visual, detached", COLOURS["language"]),
    Series("angle_language_visual_attached", "language and visual, attached", COLOURS["language"], hollow=True),
    Series("angle_standard_visual", "standard and visual", COLOURS["visual"]),
    Series("angle_standard_language", "standard and language", COLOURS["standard"]),
)


def grid(n_panels: int, across: int, rows_in: Sequence[float], **shared: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure as wide as the sheet, and its panels line by line.

    Args:
        across: how many panels stand side by side.
        rows_in: heights of the lines on paper; the last one is that of all further lines.
        shared: what `Figure.subplots` takes, such as `sharex`. The lowest panel of each column has its tick labels.
    """
    n_lines = -(-n_panels // across)
    heights_in = [sheet().inches(rows_in[min(line, len(rows_in) - 1)]) for line in range(n_lines)]
    figure = Figure(figsize=(sheet().width_in, sum(heights_in)), layout="constrained")
    axes = figure.subplots(n_lines, across, squeeze=False, height_ratios=heights_in, **shared)
    for ax in axes.flat[n_panels:]:
        ax.remove()
    drawn = list(axes.flat[:n_panels])
    for ax in drawn[-across:]:
        ax.tick_params(labelbottom=True)
    return figure, drawn


def mean_with_spread(ax: Axes, x: ArrayLike, mean: ArrayLike, std: ArrayLike, **look: Any) -> None:
    """Draw a line through means, points on it, and thin lines half a standard deviation on either side.

    look: what `Axes.plot` takes, the colour of the line among it.
    """
    mean, half = np.asarray(mean), 0.5 * np.asarray(std)
    for edge in (mean - half, mean + half):
        ax.plot(x, edge, color=look["color"], linewidth=SPREAD_WIDTH, alpha=0.6, zorder=2)
    ax.plot(x, mean, marker="o", mec="white", mew=0.6, zorder=4, **look)


def line_with_bars(ax: Axes, x: ArrayLike, ends: Sequence[ArrayLike], series: Series) -> None:
    """Draw a line through means, and a bar for the interval of each; a hollow series is dashed.

    ends: the means, their lower ends and their upper ends.
    """
    mean, low, high = map(np.asarray, ends)
    interval(ax, x, low, high, colour=series.colour)
    look: dict[str, Any] = {"color": series.colour, "linestyle": DASHED if series.hollow else "-"}
    ax.plot(x, mean, marker="o", mfc=series.inside, ms=3.4, label=series.label, zorder=4, **look)


def heatmap(ax: Axes, values: ArrayLike, *, colours: str, span: Normalize, unit: str) -> None:
    """Draw a table as coloured cells with their scale to the right; nan is grey."""
    ax.set_facecolor(NULL_GREY)
    image = ax.imshow(np.ma.masked_invalid(values), cmap=colours, norm=span, aspect="auto", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label=unit, fraction=0.05, pad=0.02)


def cuts(ax: Axes, *, rows: Sequence[int], columns: Sequence[int]) -> None:
    """Draw lines above the named rows and to the left of the named columns of a heatmap."""
    for row in rows:
        ax.axhline(row - 0.5, color="white", linewidth=0.8)
    for column in columns:
        ax.axvline(column - 0.5, color="white", linewidth=2.4)


def interval(ax: Axes, x: ArrayLike, low: ArrayLike, high: ArrayLike, *, colour: str) -> None:
    """Draw the interval of each mean as a bar between its ends, which need not lie around the mean."""
    ax.vlines(x, low, high, color=colour, linewidth=1.0, zorder=3)
    for end in (low, high):
        ax.plot(x, end, linestyle="none", marker="_", color=colour, markersize=4, mew=1.0, zorder=3)


def null_band(ax: Axes, x: ArrayLike, mean: ArrayLike, std: ArrayLike) -> None:
    """Draw the mean and one standard deviation of unrelated tokens, in grey behind the rest."""
    mean, std = np.asarray(mean), np.asarray(std)
    ax.fill_between(x, mean - std, mean + std, color=NULL_GREY, alpha=0.28, linewidth=0, zorder=1)
    ax.plot(x, mean, color=NULL_GREY, linewidth=1.0, zorder=1)


def right_angle(ax: Axes) -> None:
    """Draw the line of 90 degrees: above it two gradients oppose each other."""
    ax.axhline(90, color=INK, linewidth=0.8, linestyle=DOTTED, zorder=1.5)


def published_points(ax: Axes, x: Sequence[float], readings: Sequence[float]) -> None:
    """Draw readings off a published curve: dashed, without points, for they are approximate."""
    ax.plot(x, readings, color=PAPER_INK, linewidth=1.1, linestyle=DASHED, zorder=3.5)


def published_range(ax: Axes, x: Sequence[float], low: float, high: float) -> None:
    """Draw the two ends of a range that a published text gives, dashed, over the bins that it is about."""
    for edge in (low, high):
        ax.plot(x, [edge] * len(x), color=PAPER_INK, linewidth=0.8, linestyle=DASHED, zorder=1.3)


def published_point(ax: Axes, x: float, reading: float) -> None:
    """Draw one value that a published text gives."""
    ax.plot([x], [reading], color=PAPER_INK, marker="D", mfc="white", mew=1.1, ls="none", ms=5, zorder=5)


def lines(
    ax: Axes, x: ArrayLike, values: Mapping[str, ArrayLike], *, colours: Mapping[str, str], hollow: str = ""
) -> None:
    """Draw one thin line for each name; the one called `hollow` is dashed, its points open."""
    for name, line in values.items():
        style, inside = ("--", "white") if name == hollow else ("-", colours[name])
        ax.plot(x, line, style, color=colours[name], marker="o", mfc=inside, ms=3.2, lw=1.1, label=name)


def logarithmic(ax: Axes) -> None:
    """Make the vertical axis logarithmic with a few plain ticks; values that are not positive are not shown.

    An axis without a positive value (a blind model's dependence is 0 everywhere) stays linear.
    """
    if not any(np.any(np.asarray(line.get_ydata()) > 0) for line in ax.lines):
        return
    ax.set_yscale("log", nonpositive="mask")
    ax.yaxis.set_major_locator(LogLocator(numticks=5))
    ax.yaxis.set_minor_locator(NullLocator())
    plain_ticks(ax.yaxis)


def plain_ticks(axis: Axis) -> None:
    """Write the numbers of an axis without raised exponents, whose letters are smaller than all others."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def plain(value: float) -> str:
    """Return a number as it stands at a logarithmic axis.

    >>> plain(1e-5), plain(-0.002), plain(0.0), plain(100.0), plain(2e5)
    ('1e\u22125', '\u22120.002', '0', '100', '2e5')
    """
    words = f"{value:g}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.0e}"
    return words.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e").replace("-", "\u2212")


def logarithmic_both_ways(axis: Axis, values: ArrayLike) -> None:
    """Make an axis logarithmic either way from zero, linear below most values, with a few plain ticks."""
    sizes = np.abs(np.asarray(values, dtype=float))
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return
    least, greatest = (int(np.floor(np.log10(size))) for size in (np.quantile(sizes, 0.3), sizes.max()))
    set_scale = axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale
    set_scale("symlog", linthresh=10.0**least, linscale=0.5)
    decades = 10.0 ** np.arange(greatest, least, -max(-(-(greatest - least) // 2), 1))
    if sheet().narrow and axis is axis.axes.xaxis:
        decades = decades[:1]  # there is room for no more numbers
    axis.set_ticks([*-decades, 0.0, *decades])
    axis.set_minor_locator(NullLocator())
    plain_ticks(axis)
    axis.axes.autoscale()
