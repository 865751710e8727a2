"""How much response tokens depend on the picture: the distribution of the VDS, and what it goes with.

    python -m figures runs/vds-0123456789ab
    python -m figures runs/demo vds --out pictures

Reads the table `tokens` of a record written by `python -m probes.vds` or `probes.angles`.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import captions, panels
from figures.style import COLOURS, INK, NULL_GREY, WIDE_WIDTH_IN, styled
from records import Measurement, RecordError

FLOOR_NATS = 1e-9  # where the logarithmic axis begins; smaller values are drawn there


def draw_distribution(ax: Axes, tokens: pd.DataFrame) -> None:
    """Draw the share of tokens at or below each VDS, for the teacher and for the student."""
    share = (np.arange(len(tokens)) + 1) / len(tokens)
    for column, label, colour in (("vds_nats", "teacher (VDS)", INK), ("student_vds_nats", "student", NULL_GREY)):
        ax.plot(np.sort(tokens[column].clip(lower=FLOOR_NATS)), share, color=colour, label=label)
    ax.set_xscale("log")
    ax.set_xlabel("dependence on the picture (nats)")
    ax.set_ylabel("share of tokens at or below")
    ax.legend(loc="upper left")


def draw_groups(ax: Axes, tokens: pd.DataFrame) -> None:
    """Draw the mean VDS of each position of the responses, by what their question depends on."""
    for dependency, style in (("high", "-"), ("low", "--"), ("unknown", ":")):
        rows = tokens[tokens["dependency"] == dependency]
        if len(rows):
            mean = rows.groupby("position")["vds_nats"].mean()
            ax.plot(mean.index, mean, style, color=INK, label=f"{dependency} dependency")
    ax.set_xlabel("position in the response (tokens)")
    ax.set_ylabel("mean VDS (nats)")
    ax.legend(loc="upper right")


def draw_losses(ax: Axes, tokens: pd.DataFrame) -> None:
    """Draw the mean of each divergence in each VDS bin."""
    means = tokens.groupby("bin")[[f"kl_{name}_nats" for name in ("standard", "language", "visual")]].mean()
    losses = {name: means[f"kl_{name}_nats"] for name in ("standard", "language", "visual")}
    panels.lines(ax, means.index, losses, colours=COLOURS)
    panels.logarithmic(ax)
    ax.set_xlabel("VDS bin (0 = least visual)")
    ax.set_ylabel("mean loss (nats)")
    ax.set_xticks(means.index)
    ax.legend(loc="upper left")


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
        figure = Figure(figsize=(WIDE_WIDTH_IN, 3.0), layout="constrained")
        axes = figure.subplots(1, 3)
        for ax, panel in zip(axes, (draw_distribution, draw_groups, draw_losses), strict=True):
            panel(ax, tokens)
        words = (captions.pair(record), f"{len(tokens)} tokens")
        captions.entitle(figure, "Dependence of response tokens on the picture", *words)
    return figure
