"""Figure 4 of arXiv:2606.00564: the visual and the language loss over training, one line for each arm.

    python -m figures figures/gallery/study loss_dynamics
    python -m figures RECORD loss_dynamics --rollouts fixed --arms standard vgs-lp language-steering --out pictures

Reads the table `curves` of a record written by `python -m study.effects`.

Three kinds of rollouts can be drawn. `training`: those of the step, in bins with the edges of step 0. `fixed`: the
first student's, on held-out prompts. `own`: the present student's, on the same prompts. Training rollouts are of other
prompts in each step, so their lines are running means over `--window` steps, drawn where the window is whole. Fixed and
own rollouts are measured at a few steps, the points. Bins 7-9 are the three in which the teacher depends most on the
picture; the mean of each counts alike. Thick lines are means over seeds, thin ones seeds.
"""

from collections.abc import Sequence
from itertools import product

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import arms as study
from figures import captions, panels
from figures.fitting import finish
from figures.selection import check_choice
from figures.sheets import sheet
from figures.style import styled
from records import Measurement
from records.tables.study import ALL_BINS
from stats import N_BINS, bins_label, upper_bins

ROLLOUTS = ("training", "fixed", "own")
USUAL = ("standard", "vgs-gamma-1", "vgs", "vgs-lp", "vgs-lp-lambda-1")  # the paper's, and the lambda that preserves
_UPPER = upper_bins(N_BINS)
WHERE = {"all tokens": [ALL_BINS], bins_label(_UPPER).replace("-", "\u2013"): [*_UPPER]}
LOSSES = ("visual", "language")


def draw_panel(ax: Axes, rows: pd.DataFrame, arms: Sequence[str], loss: str, window: int | None) -> None:
    """Draw one loss, the mean over the bins of some rows: running means over a window, or points without one."""
    for arm in arms:
        table = study.by_seed(rows, arm, f"{loss}_nats")
        if window is None:
            study.draw_arm(ax, table, arm, marker="o")
        else:
            study.draw_arm(ax, study.running_mean(table, window), arm)
    ax.set_ylim(bottom=0)
    ax.set_ylabel(f"{loss} loss (nats per token)")


def draw(
    record: Measurement, rollouts: str = "training", arms: Sequence[str] | None = None, window: int = study.WINDOW
) -> Figure:
    """Draw both losses, on all tokens and on those of bins 7-9, of a record that has the table `curves`."""
    curves = record.table("curves")
    check_choice("rollouts", rollouts, ROLLOUTS)
    study.check_window(window)
    chosen = study.choose(record, "curves", arms, USUAL)
    with styled():
        across = sheet().across(2)
        figure, axes = panels.grid(4, across, (1.9,), sharex=True)
        shown = curves[curves["rollouts"] == rollouts]
        for letter, ax, (loss, where) in zip("abcd", axes, product(LOSSES, WHERE), strict=True):
            rows = shown[shown["bin"].isin(WHERE[where])]
            draw_panel(ax, rows, chosen, loss, window if rollouts == "training" else None)
            ax.set_title(f"({letter}) {loss}, {where}")
        for ax in axes[-across:]:
            ax.set_xlabel("step")
        smoothed = f"running mean over {window} steps" if rollouts == "training" and window > 1 else ""
        words = (captions.trained(record, curves), f"{rollouts} rollouts", smoothed)
        handles = study.handles(chosen, shown["seed"].nunique() > 1)
        finish(figure, "Losses over training", *words, handles=handles)
    return figure
