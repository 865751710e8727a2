"""Figure 6 of arXiv:2606.00564: accuracy on held-out prompts, response length and reward over training.

    python -m figures figures/gallery/study training_curves
    python -m figures RECORD training_curves --group low --arms standard vgs-lp --out pictures

Reads the tables `evaluations` and `steps` of a record written by `python -m study.effects`. Response length and reward
are those of the rollouts that a step trains on, sampled at temperature 1 (off-policy: the teacher's). Their lines are
running means over `--window` steps, drawn where the window is whole. Thick lines are means over seeds, thin ones seeds.
The grey bar is the 95 % interval of one seed's evaluation, over prompts.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import arms as study
from figures import captions, panels
from figures.fitting import finish
from figures.selection import rows_where
from figures.sheets import sheet
from figures.style import NULL_GREY, styled
from records import Measurement
from stats import wilson

USUAL = ("standard", "vgs-lp", "language-steering", "off-policy", "grpo", "grpo+standard", "grpo+vgs-lp")


def draw_accuracy(ax: Axes, rows: pd.DataFrame, arms: Sequence[str]) -> None:
    """Draw the accuracy on one group of held-out prompts, and how wide the interval of one evaluation is."""
    percent = rows.assign(correct_percent=100.0 * rows["correct_share"])
    for arm in arms:
        study.draw_arm(ax, study.by_seed(percent, arm, "correct_percent"), arm, marker="o")
    middle = float(percent["correct_percent"].median())
    low, high = wilson(middle / 100.0, percent["n_prompts"].max())
    beyond = float(percent["step"].max()) * 1.06 + 1
    ax.errorbar(
        [beyond], [middle], yerr=[[middle - 100 * low], [100 * high - middle]], color=NULL_GREY, capsize=3, lw=1.2
    )
    ax.set_ylabel("greedy accuracy (%)")


def draw_steps(ax: Axes, steps: pd.DataFrame, arms: Sequence[str], column: str, window: int) -> None:
    """Draw the running mean of a column that has a value for each step."""
    for arm in arms:
        table = study.by_seed(steps, arm, column)
        if not table.empty:
            study.draw_arm(ax, study.running_mean(table, window), arm)


def draw(
    record: Measurement, group: str = "high", arms: Sequence[str] | None = None, window: int = study.WINDOW
) -> Figure:
    """Draw the curves of a record that has the tables `evaluations` and `steps`."""
    rows, steps = rows_where(record, "evaluations", group=group), record.table("steps")
    study.check_window(window)
    chosen = study.choose(record, "evaluations", arms, USUAL)
    with styled():
        figure, (left, middle, right) = panels.grid(3, sheet().across(3), (1.9,), sharex=True)
        draw_accuracy(left, rows, chosen)
        left.set_title(f"(a) accuracy, group {group}")
        draw_steps(middle, steps, chosen, "response_tokens", window)
        middle.set_ylabel("tokens per response")
        middle.set_title("(b) length of responses")
        draw_steps(right, steps, chosen, "reward", window)
        right.set_ylabel("share of right answers")
        right.set_title("(c) reward of the rollouts")
        for ax in (left, middle, right):
            ax.set_xlabel("step")
        n_prompts = f"(a): {rows['n_prompts'].max()} held-out prompts"
        words = (captions.trained(record, steps), n_prompts, f"(b, c): running mean over {window} steps")
        bar = Line2D([], [], color=NULL_GREY, lw=0, marker="|", ms=9, mew=1.2, label="95 % interval of one evaluation")
        handles = [*study.handles(chosen, steps["seed"].nunique() > 1), bar]
        finish(figure, "Accuracy, length and reward over training", *words, handles=handles)
    return figure
