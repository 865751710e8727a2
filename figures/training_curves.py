"""Draw Figure 6 of arXiv:2606.00564: accuracy on held-out prompts, response length and reward over training.

    python -m figures.training_curves figures/gallery/study
    python -m figures.training_curves RECORD --group low --arms standard vgs-lp --out pictures

Reads the tables `evaluations` and `steps` of a record written by `python -m study.effects`; writes
`training_curves.png` and `.svg`. Response length and reward are of the rollouts that a step trains on, sampled at
temperature 1 (off-policy: the teacher's): running means over `--window` steps, toward the ends over fewer. Thick lines
are means over seeds, thin ones seeds; the grey bar is the 95 % interval of one seed's evaluation, over prompts.
"""

import argparse
import sys
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import arms as study
from figures import command
from figures.style import NULL_GREY, WIDE_WIDTH_IN, styled
from records import Measurement, RecordError

USUAL = ("standard", "vgs-lp", "language-steering", "off-policy", "grpo", "grpo+standard", "grpo+vgs-lp")
WINDOW = 15


def draw_accuracy(ax: Axes, rows: pd.DataFrame, arms: Sequence[str]) -> None:
    """Draw the accuracy on one group of held-out prompts, and how wide the interval of one evaluation is."""
    percent = rows.assign(correct_percent=100.0 * rows["correct_share"])
    for arm in arms:
        study.draw_arm(ax, study.by_seed(percent, arm, "correct_percent"), arm, marker="o")
    middle = float(percent["correct_percent"].median())
    low, high = study.wilson(middle / 100.0, percent["n_prompts"].max())
    beyond = float(percent["step"].max()) * 1.06 + 1
    ax.errorbar(
        [beyond], [middle], yerr=[[middle - 100 * low], [100 * high - middle]], color=NULL_GREY, capsize=3, lw=1.2
    )
    ax.set_ylabel("greedy accuracy (%)")


def draw_steps(ax: Axes, steps: pd.DataFrame, arms: Sequence[str], column: str, window: int) -> None:
    """Draw the running mean of what is recorded of every step."""
    for arm in arms:
        table = study.by_seed(steps, arm, column)
        if not table.empty:
            study.draw_arm(ax, study.running_mean(table, window), arm)


def of_group(record: Measurement, group: str) -> pd.DataFrame:
    """Return the evaluations of a dependency group."""
    found = record.tables["evaluations"]
    if group not in set(found["group"]):
        known = ", ".join(found["group"].unique())
        raise RecordError(f"`group` must be one that `{record.path}` has ({known}), not {group!r}")
    return found[found["group"] == group]


def draw(record: Measurement, group: str = "high", arms: Sequence[str] | None = None, window: int = WINDOW) -> Figure:
    """Draw the curves of a record that has the tables `evaluations` and `steps`."""
    rows, steps = of_group(record, group), record.tables["steps"]
    study.check_window(window)
    chosen = study.choose(record, "evaluations", arms, USUAL)
    with styled():
        figure = Figure(figsize=(WIDE_WIDTH_IN, 3.5), layout="constrained")
        left, middle, right = figure.subplots(1, 3, sharex=True)
        draw_accuracy(left, rows, chosen)
        left.set_title(f"(a) accuracy, {rows['n_prompts'].max()} held-out prompts, {group}")
        draw_steps(middle, steps, chosen, "response_tokens", window)
        middle.set_ylabel("tokens a response")
        middle.set_title("(b) length of responses")
        draw_steps(right, steps, chosen, "reward", window)
        right.set_ylabel("share of right answers")
        right.set_title("(c) reward of the rollouts")
        for ax in (left, middle, right):
            ax.set_xlabel("step")
        words = f"{study.caption(record, steps)} \u00b7 (b, c): running mean over {window} steps"
        figure.suptitle(f"Over training\n{words}", fontsize=9.5)
        bar = Line2D([], [], color=NULL_GREY, lw=0, marker="|", ms=9, mew=1.2, label="95 % interval of one evaluation")
        study.legend(figure, chosen, [bar], columns=8)
    return figure


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = command.parser("training_curves", "Draw accuracy, response length and reward of a study over its steps.")
    made.add_argument("--group", default="high", help="dependency group: high (default), low or text")
    made.add_argument("--arms", nargs="+", help="arms to draw (default: the main ones)")
    made.add_argument("--window", type=int, default=WINDOW, help="steps of the running mean (default: %(default)s)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a record from the command line; return the exit code."""
    options = parser().parse_args(argv)
    name = "training_curves" if options.group == "high" else f"training_curves-{options.group}"
    return command.draw_and_save(
        "training_curves",
        options,
        ("evaluations", "steps"),
        lambda record: {name: draw(record, options.group, options.arms, options.window)},
    )


if __name__ == "__main__":
    sys.exit(main())
