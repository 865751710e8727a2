"""Figure 3 of arXiv:2606.00564: angles between gradients, by how much a token depends on the picture.

    python -m figures runs/demo
    python -m figures runs/demo angle_bins --scope language_model --out pictures

Reads the table `bins` of a record written by `python -m probes.angles`.

The paper does not say whether the visual target q* is held fixed (detached) or follows the student (attached). The
picture has one row for each. Standard and language have no q*: panel (c) is the same either way. The second row uses
its place for the angle between the prior and the language gradient, which is small where the standard gradient bisects
the other two. The paper's values come from its text and from reading its figure off by machine. They stand in both
rows, whichever kind of q* they belong to.

Angles are means over a bin's units. Angles of signed-bins are pooled, read from the sum of their Gram matrices; the
thin lines then are half a standard error away. The paper's values are means over tokens all the same. No share of
obtuse angles exists then.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from figures import captions, panels
from figures.fitting import finish
from figures.selection import rows_where
from figures.sheets import sheet
from figures.style import (
    COLOURS,
    DASHED,
    DOTTED,
    INK,
    NULL_GREY,
    PAIRS,
    PAPER_INK,
    styled,
)
from records import NULL_ANGLES, Measurement
from stats import N_BINS

PANELS = (
    ("angle_language_visual", "(a) language and visual, detached"),
    ("angle_standard_visual", "(b) standard and visual, detached"),
    ("angle_standard_language", "(c) standard and language"),
    ("angle_language_visual_attached", "(d) language and visual, attached"),
    ("angle_standard_visual_attached", "(e) standard and visual, attached"),
    ("angle_prior_language", "(f) prior and language"),
)
STRIPS = (
    "(g) dependence on the picture (nats)",
    "(h) mean loss (nats)",
    "(i) share of obtuse angles in (a), (d)",
)
N_PANELS = len(PANELS) + len(STRIPS)
# What a bin's angle is called, its spread, what its interval is of, and what the null is between.
WORDS = {
    "mean": ("mean over units", "std", "mean", "tokens"),
    "pooled": ("pooled angle of all tokens", "standard error", "pooled angle", "signed-bins, one pair at a time"),
}
# Figure 3 of the paper: (a) read off its curve; (b, c) the text's "40-50" and its value at bin 9.
PAPER_CURVE_DEG = (62, 68, 70, 74, 72, 76, 80, 84, 88, 92)
PAPER_RANGE_DEG = (40, 50)
PAPER_LAST_DEG = {"standard_visual": 42, "standard_language": 50}


def draw_published(ax: Axes, angle: str) -> None:
    """Draw what the paper shows of an angle, the same for both kinds of q*."""
    pair = angle.removeprefix("angle_").removesuffix("_attached")
    if pair == "language_visual":
        panels.published_points(ax, range(N_BINS), PAPER_CURVE_DEG)
    elif pair in PAPER_LAST_DEG:
        panels.published_range(ax, range(N_BINS - 1), *PAPER_RANGE_DEG)
        panels.published_point(ax, N_BINS - 1, PAPER_LAST_DEG[pair])


def draw_angle(ax: Axes, rows: pd.DataFrame, angle: str) -> None:
    """Draw one angle over the bins, with all that it is to be compared with."""
    x = rows["bin"]
    colour, point_colour = (COLOURS[objective] for objective in PAIRS[angle])
    if angle in NULL_ANGLES:
        panels.null_band(ax, x, rows[f"{angle}_null_mean_deg"], rows[f"{angle}_null_std_deg"])
    if len(rows) == N_BINS:
        draw_published(ax, angle)
    panels.right_angle(ax)
    mean, std = rows[f"{angle}_mean_deg"], rows[f"{angle}_std_deg"]
    panels.mean_with_spread(ax, x, mean, std, color=colour, mfc=point_colour, label=angle)
    panels.interval(ax, x, rows[f"{angle}_low_deg"], rows[f"{angle}_high_deg"], colour=colour)


def draw_bins(axes: Sequence[Axes], rows: pd.DataFrame) -> None:
    """Draw what the bins hold: dependence on the picture, the three losses, the share of obtuse angles."""
    dependence = {"teacher (VDS)": rows["vds_mean_nats"], "student": rows["student_vds_mean_nats"]}
    losses = {name: rows[f"kl_{name}_mean_nats"] for name in ("standard", "language", "visual")}
    obtuse = {
        "detached": rows["angle_language_visual_obtuse_share"],
        "attached": rows["angle_language_visual_attached_obtuse_share"],
    }
    panels.lines(axes[0], rows["bin"], dependence, colours={"teacher (VDS)": INK, "student": NULL_GREY})
    panels.lines(axes[1], rows["bin"], losses, colours=COLOURS)
    panels.lines(axes[2], rows["bin"], obtuse, colours=dict.fromkeys(obtuse, COLOURS["language"]), hollow="attached")
    for ax in axes[:2]:
        panels.logarithmic(ax)
    axes[2].set_ylim(-0.04, 1.04)
    for ax, title in zip(axes, STRIPS, strict=True):
        ax.set_title(title)
        ax.legend()


def legend_entries(rows: pd.DataFrame, statistic: str) -> list[Line2D | Patch]:
    """Return one handle for each kind of mark that is drawn, in ink where the panels use an objective's colour.

    statistic: what a bin's angle is, `mean` or `pooled`.
    """
    angle, spread, centre, unrelated = WORDS[statistic]
    label = f"{angle} (colour of the line: first gradient, of the points: second)"
    marks: list[Line2D | Patch] = [Line2D([], [], color=INK, marker="o", mec="white", label=label)]
    if (rows[[f"{angle}_std_deg" for angle in PAIRS]] > 0).any(axis=None):
        marks.append(Line2D([], [], color=INK, lw=panels.SPREAD_WIDTH, alpha=0.6, label=f"\u00b1 0.5 {spread}"))
    if rows[[f"{angle}_low_deg" for angle in PAIRS]].notna().any(axis=None):
        label = f"95 % interval of the {centre}, over prompts"
        marks.append(Line2D([], [], color=INK, marker="|", ls="none", ms=9, label=label))
    if rows[[f"{angle}_null_mean_deg" for angle in NULL_ANGLES]].notna().any(axis=None):
        label = f"null: unrelated {unrelated}, mean \u00b1 1 std"
        marks.append(Patch(color=NULL_GREY, alpha=0.28, linewidth=0, label=label))
    marks.append(Line2D([], [], color=INK, lw=0.8, linestyle=DOTTED, label="90\u00b0"))
    return marks + (_published_entries() if len(rows) == N_BINS else [])


def _published_entries() -> list[Line2D | Patch]:
    return [
        Line2D(
            [],
            [],
            color=PAPER_INK,
            lw=1.1,
            linestyle=DASHED,
            label="the paper's models: curve read off, range in its text",
        ),
        Line2D(
            [],
            [],
            color=PAPER_INK,
            marker="D",
            mfc="white",
            ls="none",
            ms=5,
            label="the paper's models: value in its text",
        ),
    ]


def units(record: Measurement, rows: pd.DataFrame) -> str:
    """Name the unit, and how many of them each bin has."""
    unit = record.header["settings"]["unit"]
    least, most = rows["n_units"].min(), rows["n_units"].max()
    count = f"{least}" if least == most else f"{least}\u2013{most}"
    return f"unit: {unit}, {count} per bin"


def upper_limit_deg(rows: pd.DataFrame) -> float:
    """Return a limit shared by all panels, with room for every band and interval."""
    tops = [rows[f"{angle}_mean_deg"] + 0.5 * rows[f"{angle}_std_deg"] for angle in PAIRS]
    tops += [rows[f"{angle}_high_deg"] for angle in PAIRS]
    return min(180.0, max([120.0, *(float(top.max()) + 5 for top in tops if top.notna().any())]))


def draw(record: Measurement, scope: str = "all") -> Figure:
    """Draw the angles of one scope.

    Raises:
        RecordError: the record has not measured the scope.
    """
    rows = rows_where(record, "bins", scope=scope).sort_values("bin")
    with styled():
        across = sheet().across(3, 2)
        figure, axes = panels.grid(N_PANELS, across, (1.5,) if sheet().narrow else (2.0, 2.0, 1.3), sharex=True)
        for ax, (angle, title) in zip(axes, PANELS, strict=False):
            draw_angle(ax, rows, angle)
            ax.set_title(title)
            ax.set_ylim(0, upper_limit_deg(rows))
            ax.set_yticks(range(0, int(upper_limit_deg(rows)) + 1, 30))
        draw_bins(axes[len(PANELS) :], rows)
        for ax in axes[: len(PANELS) : across]:
            ax.set_ylabel("angle (degrees)")
        for ax in axes[-across:]:
            ax.set_xticks(rows["bin"])
            ax.set_xlabel("VDS bin (0 = least visual)")
        words = (
            captions.pair(record),
            units(record, rows),
            captions.parameters(scope),
            captions.metric(record),
            captions.sketch(record, scope),
        )
        statistic = captions.statistic(record)
        title = "Angles between gradients" if statistic == "mean" else "Pooled angles between gradients"
        handles = legend_entries(rows, statistic)
        finish(figure, f"{title}, by dependence on the picture", *words, handles=handles)
    return figure
