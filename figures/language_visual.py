"""The headline: the angle between the language and the visual gradient, and where the dependence on the picture lies.

    python -m figures runs/demo language_visual
    python -m figures figures/gallery/angles language_visual --style column --no-title --out pictures

Reads the table `bins` of a record written by `python -m probes.angles`. Left: the visual target q* is held fixed
(detached). Right: it follows the student (attached). Bars are 95 % intervals over prompts; the grey band is the null,
angles between gradients of unrelated tokens, mean and one standard deviation. The dashed line is read off Figure 3 of
arXiv:2606.00564, which does not say which q* it shows. Below stands the share of the VDS in each bin: bins hold equally
many tokens, and not equally much dependence on the picture.
"""

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from figures import captions, panels
from figures.angle_bins import PAPER_CURVE_DEG, WORDS, units
from figures.bin_shares import shares
from figures.fitting import finish
from figures.selection import rows_where
from figures.sheets import sheet
from figures.style import COLOURS, DASHED, DOTTED, INK, NULL_GREY, PAPER_INK, styled
from records import Measurement
from stats import N_BINS

SIDES = {
    "angle_language_visual": "(a) language and visual, q* detached",
    "angle_language_visual_attached": "(b) language and visual, q* attached",
}
LIMITS_DEG = (30, 125)
ANGLES_IN, SHARES_IN = 2.0, 0.8  # heights of the panels on paper


def draw_angle(ax: Axes, rows: pd.DataFrame, angle: str) -> None:
    """Draw one angle over the bins with its intervals, the null and the paper's reading."""
    panels.null_band(ax, rows["bin"], rows[f"{angle}_null_mean_deg"], rows[f"{angle}_null_std_deg"])
    panels.right_angle(ax)
    if len(rows) == N_BINS:
        panels.published_points(ax, range(N_BINS), PAPER_CURVE_DEG)
    ends = [rows[f"{angle}_{end}_deg"] for end in ("mean", "low", "high")]
    panels.line_with_bars(ax, rows["bin"], ends, panels.Series(angle, angle, COLOURS["language"]))
    low, high = float(ends[1].min()), float(ends[2].max())
    ax.set_ylim(min(LIMITS_DEG[0], low - 5), max(LIMITS_DEG[1], high + 5))
    ax.set_yticks([tick for tick in range(0, 181, 30) if ax.get_ylim()[0] <= tick <= ax.get_ylim()[1]])


def draw_shares(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the share of the VDS in each bin, with its percent above."""
    percent = 100.0 * shares(rows)["VDS"]
    ax.bar(percent.index, percent, width=0.7, color=INK)
    for bin_, share in percent.items():
        ax.text(float(str(bin_)), share + 3, f"{share:.1f}" if 0.05 <= share < 9.95 else f"{share:.0f}", ha="center")
    ax.set_ylim(0, 125)
    ax.set_yticks([0, 50, 100])
    ax.set_xlabel("VDS bin (0 = least visual)")


def legend_entries(rows: pd.DataFrame, statistic: str) -> list[Artist]:
    """Return one handle for each kind of mark; the paper's where its ten bins are drawn."""
    angle, _, _, unrelated = WORDS[statistic]
    marks: list[Artist] = [
        Line2D([], [], color=COLOURS["language"], marker="o", ms=3.4, label=f"{angle}, 95 % interval"),
        Patch(color=NULL_GREY, alpha=0.28, linewidth=0, label=f"null: unrelated {unrelated}"),
        Line2D([], [], color=INK, lw=0.8, linestyle=DOTTED, label="90\u00b0"),
    ]
    paper = Line2D([], [], color=PAPER_INK, lw=1.1, linestyle=DASHED, label="paper, read off")
    return [*marks, paper] if len(rows) == N_BINS else marks


def draw(record: Measurement, scope: str = "all") -> Figure:
    """Draw the angle for both kinds of q*, and below it the share of the VDS by bin.

    Raises:
        RecordError: the record has not measured the scope, or its VDS is 0 in all bins.
    """
    rows = rows_where(record, "bins", scope=scope).sort_values("bin")
    with styled():
        across = sheet().across(2)
        lines = (ANGLES_IN, SHARES_IN) if across == 2 else (ANGLES_IN, ANGLES_IN, SHARES_IN)
        figure, axes = panels.grid(across * len(lines), across, lines, sharex=True)
        for ax, (angle, title) in zip(axes, SIDES.items(), strict=False):
            draw_angle(ax, rows, angle)
            ax.set_title(title)
        for ax in axes[len(SIDES) :]:
            draw_shares(ax, rows)
            ax.set_xticks(rows["bin"])
        for ax in axes[: len(SIDES) : across]:
            ax.set_ylabel("angle (degrees)")
        axes[len(SIDES)].set_ylabel("share of VDS (%)")
        title = "Language and visual gradients by how much a token depends on the picture"
        words = (captions.pair(record), units(record, rows), captions.parameters(scope), captions.metric(record))
        finish(figure, title, *words, handles=legend_entries(rows, captions.statistic(record)))
    return figure
