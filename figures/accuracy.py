"""Draw Figures 1 and 10 of arXiv:2606.00564: accuracy after training by what a question depends on, and by task.

    python -m figures.accuracy figures/gallery/study
    python -m figures.accuracy RECORD --arms standard vgs-lp language-steering --out pictures

Reads the tables `verdicts` and `effects` of a record written by `python -m study.effects`; writes `accuracy.png` and
`accuracy_by_task.png`, each with its `.svg`.

Points are greedy answers to held-out scenes, bars 95 % intervals over scenes (Wilson's of accuracies; the paired
bootstrap of `study.effects` of differences), the small ticks single seeds. A difference is full where it counts by the
rule of `study.effects`, open where it does not; with one seed nothing counts.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import arms as study
from figures import command
from figures.style import INK, WIDE_WIDTH_IN, arm_colour, styled
from records import Measurement

COLUMNS = 4  # of the panels by task
ROW_IN = 0.17  # height of an arm's row


def draw_row(ax: Axes, place: float, row: Mapping[str, float], seeds: Sequence[float], colour: str, full: bool) -> None:
    """Draw a point, its interval and its seeds at a height."""
    ax.hlines(place, row["low"], row["high"], color=colour, linewidth=1.3, zorder=3)
    if len(seeds) > 1:
        ax.plot(seeds, [place] * len(seeds), ls="none", marker="|", color=colour, ms=6.5, mew=0.8, alpha=0.7, zorder=2)
    inside = colour if full else "white"
    ax.plot([row["mean"]], [place], ls="none", marker="o", color=colour, mfc=inside, ms=4, zorder=4)


def draw_accuracies(ax: Axes, verdicts: pd.DataFrame, arms: Sequence[str]) -> None:
    """Draw the accuracy of each arm, an arm a row; arms without an answer have an empty one."""
    for place, arm in enumerate(arms):
        rows = verdicts[verdicts["arm"] == arm]
        if rows.empty:
            continue
        percent = {name: 100.0 * value for name, value in study.accuracy(rows).items()}
        seeds = (100.0 * rows.groupby("seed")["correct"].mean()).tolist()
        draw_row(ax, place, percent, seeds, arm_colour(arm), full=True)
    study.name_arms(ax, arms)


def draw_differences(ax: Axes, effects: pd.DataFrame, arms: Sequence[str]) -> None:
    """Draw each arm's difference from standard in percentage points, with its interval."""
    ax.axvline(0, color=arm_colour(study.STANDARD), linewidth=0.9, zorder=1)
    for row in effects[effects["arm"].isin(arms)].to_dict("records"):
        points = {"mean": row["difference"], "low": row["low"], "high": row["high"]}
        percent = {name: 100.0 * value for name, value in points.items()}
        seeds = [100.0 * row[end] for end in ("least", "greatest")] if row["n_seeds"] > 1 else []
        full = row["counts_as"] in ("better", "worse")
        draw_row(ax, arms.index(row["arm"]), percent, seeds, arm_colour(row["arm"]), full)
    study.name_arms(ax, arms)


def against_standard(effects: pd.DataFrame, group: str) -> pd.DataFrame:
    """Return the rows that compare accuracy on a group of scenes with standard distillation."""
    wanted = (effects["quantity"] == "correct") & (effects["against"] == study.STANDARD)
    return effects[wanted & (effects["where"] == group)]


def draw(record: Measurement, arms: Sequence[str] | None = None) -> Figure:
    """Draw accuracy by dependency group, and below it the differences from standard."""
    verdicts, effects = record.tables["verdicts"], record.tables["effects"]
    chosen = study.choose(record, "verdicts", arms, study.MAIN)
    groups = [group for group in study.GROUPS if group in set(verdicts["group"])]
    with styled():
        height_in = 1.7 + 2 * ROW_IN * (len(chosen) + 1)
        figure = Figure(figsize=(WIDE_WIDTH_IN, height_in), layout="constrained")
        axes = figure.subplots(2, len(groups), sharey=True, squeeze=False)
        for column, group in enumerate(groups):
            rows = verdicts[verdicts["group"] == group]
            above, below = axes[:, column]
            draw_accuracies(above, rows, chosen)
            draw_differences(below, against_standard(effects, group), chosen)
            scenes = rows["prompt_id"].nunique()
            above.set_title(f"({'abc'[column]}) {group}: {study.GROUP_NAMES[group]}, {scenes} scenes")
            above.set_xlabel("greedy accuracy (%)")
            below.set_xlabel("difference from standard (percentage points)")
            for ax in (above, below):
                ax.locator_params(axis="x", nbins=6)
        figure.suptitle(f"Accuracy after training\n{study.caption(record, verdicts)}", fontsize=9.5)
    return figure


def tasks_of(verdicts: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the tasks with their groups, groups in their order and tasks as recorded."""
    pairs = list(dict.fromkeys(zip(verdicts["group"], verdicts["task"], strict=True)))
    return sorted(pairs, key=lambda pair: study.GROUPS.index(pair[0]))


def draw_tasks(record: Measurement, arms: Sequence[str] | None = None) -> Figure:
    """Draw the accuracy on each task in a panel of its own."""
    verdicts = record.tables["verdicts"]
    chosen, tasks = study.choose(record, "verdicts", arms, study.MAIN), tasks_of(verdicts)
    lines = -(-len(tasks) // COLUMNS)
    with styled():
        height_in = 0.8 + lines * (0.55 + ROW_IN * (len(chosen) + 1))
        figure = Figure(figsize=(WIDE_WIDTH_IN, height_in), layout="constrained")
        axes = figure.subplots(lines, COLUMNS, sharey=True, squeeze=False)
        for ax in axes.flat[len(tasks) :]:
            ax.set_axis_off()
        for ax, (group, task) in zip(axes.flat, tasks, strict=False):
            rows = verdicts[verdicts["task"] == task]
            draw_accuracies(ax, rows, chosen)
            ax.set_title(f"{task} ({group}, {rows['prompt_id'].nunique()})", color=INK)
            ax.margins(x=0.08)
            ax.locator_params(axis="x", nbins=5)
        for ax in axes[-1]:
            ax.set_xlabel("greedy accuracy (%)")
        words = f"{study.caption(record, verdicts)} \u00b7 in brackets the group and the number of scenes"
        figure.suptitle(f"Accuracy after training, by task\n{words}", fontsize=9.5)
    return figure


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = command.parser("accuracy", "Draw the accuracy of a study's arms.")
    made.add_argument("--arms", nargs="+", help="arms to draw (default: one for every objective)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a record from the command line; return the exit code."""
    options = parser().parse_args(argv)
    return command.draw_and_save(
        "accuracy",
        options,
        ("verdicts", "effects"),
        lambda record: {
            "accuracy": draw(record, options.arms),
            "accuracy_by_task": draw_tasks(record, options.arms),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
