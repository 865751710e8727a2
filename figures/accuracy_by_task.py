"""Figure 10 of arXiv:2606.00564: accuracy after training on each task.

    python -m figures figures/gallery/study accuracy_by_task
    python -m figures RECORD accuracy_by_task --arms standard vgs-lp language-steering --out pictures

Reads the table `verdicts` of a record written by `python -m study.effects`. Points are greedy answers to held-out
scenes, bars 95 % intervals over seeds, the small ticks single seeds. An arm with one seed, and the
student that is not trained, have a dotted bar: Wilson's interval over scenes.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from figures import arms as study
from figures import captions, panels
from figures.accuracy import OTHER_IN, ROW_IN, accuracy_of, draw_accuracies, legend_entries
from figures.fitting import finish
from figures.sheets import sheet
from figures.style import INK, styled
from records import Measurement


def tasks_of(verdicts: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the tasks with their groups, groups in their order and tasks as recorded."""
    pairs = list(dict.fromkeys(zip(verdicts["group"], verdicts["task"], strict=True)))
    return sorted(pairs, key=lambda pair: study.GROUPS.index(pair[0]))


def draw(record: Measurement, arms: Sequence[str] | None = None) -> Figure:
    """Draw one panel for each task."""
    verdicts = record.table("verdicts")
    chosen, tasks = study.choose(record, "verdicts", arms, study.MAIN), tasks_of(verdicts)
    with styled():
        across = sheet().across(4, 2)
        figure, axes = panels.grid(len(tasks), across, (OTHER_IN + ROW_IN * len(chosen),), sharey=True)
        for ax, (group, task) in zip(axes, tasks, strict=True):
            rows = verdicts[verdicts["task"] == task]
            draw_accuracies(ax, rows, chosen)
            ax.set_title(f"{task} ({group}, {rows['prompt_id'].nunique()})", color=INK)
            ax.margins(x=0.08)
            ax.locator_params(axis="x", nbins=4)
        for ax in axes[-across:]:
            ax.set_xlabel("greedy accuracy (%)")
        words = (captions.trained(record, verdicts), "in brackets the group and the number of scenes")
        by_task = verdicts[verdicts["arm"].isin(chosen)].groupby(["arm", "task"])
        handles = legend_entries([accuracy_of(rows) for _, rows in by_task], None)
        finish(figure, "Accuracy after training, by task", *words, handles=handles)
    return figure
