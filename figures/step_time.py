"""Figure 9 of arXiv:2606.00564: how long a training step takes, by phase.

    python -m figures figures/gallery/study step_time
    python -m figures RECORD step_time --arms standard vgs-lp --out pictures

Reads the table `steps` of a record written by `python -m study.effects`. The time of a phase is its median over the
steps of a run. The bars are the arm's fastest run: others shared their machine and were slower. Ticks are the totals of
all runs. To the right of a bar stands its ratio to standard distillation; the dashed line is the published one, 1.375.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import arms as study
from figures import captions
from figures.style import DASHED, INK, PAPER_INK, WIDE_WIDTH_IN, styled
from records import Measurement
from records.journal_lines import PHASES

PUBLISHED_RATIO = 1.375
PHASE_COLOURS = {"rollout": "#4D4D4D", "teacher": "#8C8C8C", "student": "#BDBDBD", "update": "#E0E0E0"}


def seconds(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the median seconds of each phase, by arm and seed."""
    return steps.groupby(["arm", "seed"])[[f"{phase}_seconds" for phase in PHASES]].median()


def fastest(medians: pd.DataFrame) -> pd.DataFrame:
    """Return the phases of each arm's fastest run, by arm."""
    return medians.loc[medians.sum(axis=1).groupby("arm").idxmin()].droplevel("seed")


def draw_bars(ax: Axes, medians: pd.DataFrame, arms: Sequence[str]) -> None:
    """Draw one bar for each arm, stacked by phase, and the totals of its seeds."""
    totals = medians.sum(axis=1)
    least = fastest(medians)
    left = np.zeros(len(arms))
    for phase in PHASES:
        width = least.loc[list(arms), f"{phase}_seconds"].to_numpy()
        ax.barh(range(len(arms)), width, left=left, height=0.62, color=PHASE_COLOURS[phase], label=phase)
        left = left + width
    for place, (arm, end) in enumerate(zip(arms, left, strict=True)):
        each = totals[arm]
        if len(each) > 1:
            ax.plot(each, [place] * len(each), ls="none", marker="|", color=INK, ms=8, mew=0.9)
        words = f"{end:.2f} s" + ratio_words(least, arm)
        ax.annotate(words, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=7.5)


def ratio_words(least: pd.DataFrame, arm: str) -> str:
    """Return an arm's ratio to standard as it is read; nothing where standard was not run."""
    totals = least.sum(axis=1)
    return f", {totals[arm] / totals[study.STANDARD]:.2f} \u00d7" if study.STANDARD in totals else ""


def draw(record: Measurement, arms: Sequence[str] | None = None) -> Figure:
    """Draw a record that has the table `steps`."""
    steps = record.table("steps")
    chosen = study.choose(record, "steps", arms, study.MAIN)
    medians = seconds(steps)
    with styled():
        figure = Figure(figsize=(WIDE_WIDTH_IN, 1.5 + 0.27 * len(chosen)), layout="constrained")
        ax = figure.subplots()
        draw_bars(ax, medians, chosen)
        if study.STANDARD in medians.index:
            published = PUBLISHED_RATIO * fastest(medians).sum(axis=1)[study.STANDARD]
            ax.axvline(published, color=PAPER_INK, lw=1.1, linestyle=DASHED, label="published: 1.375 \u00d7 standard")
        study.name_arms(ax, chosen)
        ax.set_xlim(left=0)
        ax.set_xlabel("seconds a step (medians)")
        captions.entitle(figure, "Time of a training step", captions.trained(record, steps))
        figure.legend(loc="outside lower center", ncols=5, columnspacing=1.8)
    return figure
