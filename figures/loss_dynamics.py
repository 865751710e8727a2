"""Draw Figure 4 of arXiv:2606.00564: the visual and the language loss over training, an arm a line.

    python -m figures.loss_dynamics figures/gallery/study
    python -m figures.loss_dynamics RECORD --rollouts fixed --arms standard vgs-lp language-steering --out pictures

Reads the table `curves` of a record written by `python -m study.effects`; writes `loss_dynamics.png` and `.svg`.

Three kinds of rollouts: `training`, those of the step, in bins with the edges of step 0; `fixed`, the first student's
on held-out prompts; `own`, the present student's on the same. Training rollouts are of other prompts in each step:
their lines are running means over `--window` steps, toward the ends over fewer. Fixed and own rollouts are measured at
a few steps, the points. Bins 7-9 are the three in which the teacher depends most on the picture; their means count
alike. Thick lines are means over seeds, thin ones seeds.
"""

import argparse
import sys
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import arms as study
from figures import command
from figures.style import WIDE_WIDTH_IN, styled
from records import Measurement, RecordError

ROLLOUTS = ("training", "fixed", "own")
USUAL = ("standard", "vgs-gamma-1", "vgs", "vgs-lp", "vgs-lp-lambda-1")  # the paper's, and the lambda that preserves
WHERE = {"all tokens": [-1], "bins 7\u20139": [7, 8, 9]}
LOSSES = ("visual", "language")
WINDOW = 15


def losses(curves: pd.DataFrame, rollouts: str, arm: str, loss: str, bins: Sequence[int]) -> pd.DataFrame:
    """Return an arm's loss, the mean over some bins, as a table of steps by seeds."""
    rows = curves[(curves["rollouts"] == rollouts) & curves["bin"].isin(bins)]
    return study.by_seed(rows, arm, f"{loss}_nats")


def draw_panel(
    ax: Axes, curves: pd.DataFrame, arms: Sequence[str], rollouts: str, loss: str, where: str, window: int
) -> None:
    """Draw one loss on some of the tokens."""
    for arm in arms:
        table = losses(curves, rollouts, arm, loss, WHERE[where])
        if rollouts == "training":
            study.draw_arm(ax, study.running_mean(table, window), arm)
        else:
            study.draw_arm(ax, table, arm, marker="o")
    ax.set_ylim(bottom=0)
    ax.set_ylabel(f"{loss} loss (nats a token)")


def draw(
    record: Measurement, rollouts: str = "training", arms: Sequence[str] | None = None, window: int = WINDOW
) -> Figure:
    """Draw both losses, on all tokens and on those of bins 7-9, of a record that has the table `curves`."""
    curves = record.tables["curves"]
    if rollouts not in ROLLOUTS:
        raise RecordError(f"`rollouts` must be one of {', '.join(ROLLOUTS)}, not {rollouts!r}")
    study.check_window(window)
    chosen = study.choose(record, "curves", arms, USUAL)
    with styled():
        figure = Figure(figsize=(WIDE_WIDTH_IN, 5.6), layout="constrained")
        axes = figure.subplots(2, 2, sharex=True)
        for row, loss in zip(axes, LOSSES, strict=True):
            for ax, where in zip(row, WHERE, strict=True):
                draw_panel(ax, curves, chosen, rollouts, loss, where, window)
        for letter, ax, title in zip("abcd", axes.flat, [f"{x}, {y}" for x in LOSSES for y in WHERE], strict=True):
            ax.set_title(f"({letter}) {title}")
        for ax in axes[1]:
            ax.set_xlabel("step")
        smoothed = f" \u00b7 running mean over {window} steps" if rollouts == "training" and window > 1 else ""
        words = f"{study.caption(record, curves)} \u00b7 {rollouts} rollouts{smoothed}"
        figure.suptitle(f"Losses over training\n{words}", fontsize=9.5)
        study.legend(figure, chosen)
    return figure


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = command.parser("loss_dynamics", "Draw the losses of a study over its steps.")
    made.add_argument("--rollouts", default="training", help="training (default), fixed or own")
    made.add_argument("--arms", nargs="+", help="arms to draw (default: those of the paper's figure)")
    made.add_argument("--window", type=int, default=WINDOW, help="steps of the running mean (default: %(default)s)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a record from the command line; return the exit code."""
    options = parser().parse_args(argv)
    name = "loss_dynamics" if options.rollouts == "training" else f"loss_dynamics-{options.rollouts}"
    return command.draw_and_save(
        "loss_dynamics",
        options,
        ("curves",),
        lambda record: {name: draw(record, options.rollouts, options.arms, options.window)},
    )


if __name__ == "__main__":
    sys.exit(main())
