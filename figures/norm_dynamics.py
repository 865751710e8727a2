"""Gradients over checkpoints, in the manner of Figure 7 of arXiv:2606.00564.

    python -m figures runs/norms-0123456789ab
    python -m figures runs/norms-0123456789ab norm_dynamics --scope language_model --bin 9 --out pictures

Reads the table `norms` of a record written by `python -m probes.norms`. The paper shows the norms of the standard and
the visual gradient and their cosine. Here are also the norm of the language gradient, angles in place of the cosine,
and the mean losses. Bars are 95 % intervals of the means, over prompts. Angles of signed-bins are pooled, not means.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import captions, panels
from figures.fitting import finish
from figures.selection import rows_where
from figures.sheets import sheet
from figures.style import COLOURS, INK, styled
from records import Measurement

OBJECTIVES = ("standard", "language", "visual")
MOST_TICKS = 8


def draw_norms(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the mean norm of each objective's gradient."""
    for name in OBJECTIVES:
        interval = [rows[f"norm_{name}_{end}"] for end in ("mean", "low", "high")]
        panels.line_with_bars(ax, rows["checkpoint"], interval, panels.Series(f"norm_{name}", name, COLOURS[name]))
    ax.set_ylim(bottom=0)
    ax.set_ylabel("mean norm of the gradient")
    ax.set_title("(a) norms")


def draw_angles(ax: Axes, rows: pd.DataFrame, statistic: str = "mean") -> None:
    """Draw the angles, which are `mean` ones over units or `pooled`."""
    panels.right_angle(ax)
    for angle in panels.ANGLES:
        interval = [rows[f"{angle.name}_{end}_deg"] for end in ("mean", "low", "high")]
        panels.line_with_bars(ax, rows["checkpoint"], interval, angle)
    ax.set_ylim(0, 180)
    ax.set_yticks(range(0, 181, 30))
    ax.set_ylabel(f"{statistic} angle (degrees)")
    ax.set_title("(b) angles")


def draw_losses(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the mean divergences of all scored tokens."""
    values = {name: rows[f"kl_{name}_mean_nats"] for name in OBJECTIVES} | {"VDS": rows["vds_mean_nats"]}
    panels.lines(ax, rows["checkpoint"], values, colours=COLOURS | {"VDS": INK}, hollow="VDS")
    panels.logarithmic(ax)
    ax.set_ylabel("mean divergence (nats)")
    ax.set_title("(c) losses and dependence on the picture")


def name_checkpoints(ax: Axes, rows: pd.DataFrame) -> None:
    """Write the names below the axis, the last part of each, and no more than have room."""
    shown = rows.iloc[:: -(-len(rows) // MOST_TICKS)]
    names = [name.split("/")[-1] for name in shown["name"]]
    ax.set_xticks(shown["checkpoint"], names, rotation=30, ha="right")
    ax.set_xlabel("checkpoint")


def units(record: Measurement, rows: pd.DataFrame, bin_: str) -> str:
    """Name the unit, how many of them each checkpoint has, and the tokens."""
    tokens = "all bins" if bin_ == "all" else f"VDS bin {bin_}"
    return f"unit: {record.header['settings']['unit']}, up to {rows['n_units'].max()} per checkpoint, {tokens}"


def draw(record: Measurement, scope: str = "all", bin_: str = "all") -> Figure:
    """Draw one scope and bin.

    Raises:
        RecordError: the record has not measured them.
    """
    rows = rows_where(record, "norms", scope=scope, bin=bin_).sort_values("checkpoint")
    with styled():
        figure, axes = panels.grid(3, sheet().across(3), (1.8,), sharex=True)
        draw_norms(axes[0], rows)
        draw_angles(axes[1], rows, captions.statistic(record))
        draw_losses(axes[2], rows)
        for ax in axes:
            name_checkpoints(ax, rows)
            ax.legend()
        teacher, parameters = f"teacher {record.header['pair']['teacher']}", captions.parameters(scope)
        words = (
            teacher,
            units(record, rows, bin_),
            parameters,
            captions.metric(record),
            captions.sketch(record, scope),
        )
        finish(figure, "Gradients over checkpoints", *words)
    return figure
