"""How much response tokens depend on the picture: the distribution of the VDS, and what it goes with.

    python -m figures runs/vds-0123456789ab
    python -m figures runs/demo vds --out pictures

Reads the table `tokens` of a record written by `python -m probes.vds` or `probes.angles`.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from figures import captions, panels
from figures.fitting import finish
from figures.sheets import sheet
from figures.style import COLOURS, INK, NULL_GREY, styled
from records import Measurement, RecordError

FLOOR_NATS = 1e-9  # where the logarithmic axis begins; smaller values are drawn there


def draw_distribution(ax: Axes, tokens: pd.DataFrame) -> None:
    """Draw the share of tokens at or below each VDS, for the teacher and for the student."""
    share = (np.arange(len(tokens)) + 1) / len(tokens)
    for column, label, colour in (("vds_nats", "teacher (VDS)", INK), ("student_vds_nats", "student", NULL_GREY)):
        ax.plot(np.sort(tokens[column].clip(lower=FLOOR_NATS)), share, color=colour, label=label)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(numticks=5))
    ax.xaxis.set_minor_locator(NullLocator())
    panels.plain_ticks(ax.xaxis)
    ax.set_xlabel("dependence on the picture (nats)")
    ax.set_ylabel("share of tokens at or below")
    ax.legend()


def draw_groups(ax: Axes, tokens: pd.DataFrame) -> None:
    """Draw the mean VDS of each position of the responses, by what their question depends on."""
    for dependency, style in (("high", "-"), ("low", "--"), ("unknown", ":")):
        rows = tokens[tokens["dependency"] == dependency]
        if len(rows):
            mean = rows.groupby("position")["vds_nats"].mean()
            ax.plot(mean.index, mean, style, color=INK, label=f"{dependency} dependency")
    ax.set_xlabel("position in the response (tokens)")
    ax.set_ylabel("mean VDS (nats)")
    ax.legend()


def draw_losses(ax: Axes, tokens: pd.DataFrame) -> None:
    """Draw the mean of each divergence in each VDS bin."""
    means = tokens.groupby("bin")[[f"kl_{name}_nats" for name in ("standard", "language", "visual")]].mean()
    losses = {name: means[f"kl_{name}_nats"] for name in ("standard", "language", "visual")}
    panels.lines(ax, means.index, losses, colours=COLOURS)
    panels.logarithmic(ax)
    ax.set_xlabel("VDS bin (0 = least visual)")
    ax.set_ylabel("mean loss (nats)")
    ax.set_xticks(means.index)
    ax.legend()


PANELS = {
    "(a) all tokens": draw_distribution,
    "(b) by position and question": draw_groups,
    "(c) losses by bin": draw_losses,
}


def draw(record: Measurement) -> Figure:
    """Draw the tokens of prompts with a picture.

    Raises:
        RecordError: there is none.
    """
    tokens = record.table("tokens")
    tokens = tokens[tokens["bin"] >= 0]
    if tokens.empty:
        raise RecordError(f"`{record.path}` has no token of a prompt with a picture: measure prompts that have one")
    with styled():
        figure, axes = panels.grid(len(PANELS), sheet().across(3), (1.6,))
        for ax, (title, panel) in zip(axes, PANELS.items(), strict=True):
            panel(ax, tokens)
            ax.set_title(title)
        words = (captions.pair(record), f"{len(tokens)} tokens")
        finish(figure, "Dependence of response tokens on the picture", *words)
    return figure
