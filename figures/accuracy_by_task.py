"""Figure 10 of arXiv:2606.00564: accuracy after training on each task.

    python -m figures figures/gallery/study accuracy_by_task
    python -m figures RECORD accuracy_by_task --arms standard vgs-lp language-steering --out pictures

Reads the table `verdicts` of a record written by `python -m study.effects`. Points are greedy answers to held-out
scenes, bars Wilson's 95 % intervals over scenes, the small ticks single seeds.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from figures import arms as study
from figures import captions
from figures.accuracy import ROW_IN, draw_accuracies
from figures.style import INK, WIDE_WIDTH_IN, styled
from records import Measurement

COLUMNS = 4


def tasks_of(verdicts: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the tasks with their groups, groups in their order and tasks as recorded."""
    pairs = list(dict.fromkeys(zip(verdicts["group"], verdicts["task"], strict=True)))
    return sorted(pairs, key=lambda pair: study.GROUPS.index(pair[0]))


def draw(record: Measurement, arms: Sequence[str] | None = None) -> Figure:
    """Draw one panel for each task."""
    verdicts = record.table("verdicts")
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
        words = (captions.trained(record, verdicts), "in brackets the group and the number of scenes")
        captions.entitle(figure, "Accuracy after training, by task", *words)
    return figure
