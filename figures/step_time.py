"""Figure 9 of arXiv:2606.00564: how long a training step takes, by phase.

    python -m figures figures/gallery/study step_time
    python -m figures RECORD step_time --arms standard vgs-lp --out pictures

Reads the table `steps` of a record written by `python -m study.effects`. The time of a phase is its median over the
steps of a run. The bars are the arm's fastest run. Ticks are the totals of all runs. A run that shared its machine and
was much slower stands beyond the axis, as an arrow at its end. To the right of a bar stands its ratio to standard
distillation; the dashed line is the published one, 1.375.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from figures import arms as study
from figures import captions, panels
from figures.accuracy import OTHER_IN, ROW_IN
from figures.fitting import finish
from figures.style import DASHED, INK, PAPER_INK, styled
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
    least, most = fastest(medians), axis_end(medians, arms)
    left = np.zeros(len(arms))
    for phase in PHASES:
        width = least.loc[list(arms), f"{phase}_seconds"].to_numpy()
        ax.barh(range(len(arms)), width, left=left, height=0.62, color=PHASE_COLOURS[phase])
        left = left + width
    for place, (arm, end) in enumerate(zip(arms, left, strict=True)):
        each = totals[arm]
        if len(each) > 1:
            draw_runs(ax, each[each <= most], most if (each > most).any() else None, place)
        words = f"{end:.2f} s" + ratio_words(least, arm)
        ax.annotate(words, (1.04, place), xycoords=("axes fraction", "data"), va="center")


def draw_runs(ax: Axes, each: pd.Series, beyond: float | None, place: int) -> None:
    """Draw a tick for the total of each run, and an arrow at the end of the axis if some lie beyond it."""
    ax.plot(each, [place] * len(each), ls="none", marker="|", color=INK, ms=6, mew=0.9)
    if beyond is not None:
        ax.plot([beyond], [place], ls="none", marker=">", color=INK, ms=4, clip_on=False)


def axis_end(medians: pd.DataFrame, arms: Sequence[str]) -> float:
    """Return where the axis ends: a little beyond the longest bar and the published time."""
    ends = fastest(medians).sum(axis=1)
    longest = float(ends[list(arms)].max())
    return 1.08 * max(longest, PUBLISHED_RATIO * ends[study.STANDARD] if study.STANDARD in ends else 0.0)


def legend_entries(medians: pd.DataFrame, arms: Sequence[str]) -> list[Artist]:
    """Return one handle for each kind of mark that is drawn."""
    totals = medians.sum(axis=1)[list(arms)]
    several, beyond = totals.groupby("arm").transform("size") > 1, totals > axis_end(medians, arms)
    marks: list[Artist] = [Patch(color=PHASE_COLOURS[phase], label=phase) for phase in PHASES]
    if study.STANDARD in medians.index:
        marks.append(
            Line2D([], [], color=PAPER_INK, lw=1.1, ls=DASHED, label=f"published: {PUBLISHED_RATIO} \u00d7 standard")
        )
    if several.any():
        marks.append(Line2D([], [], color=INK, ls="none", marker="|", ms=6, mew=0.9, label="single runs"))
    if (several & beyond).any():
        marks.append(Line2D([], [], color=INK, ls="none", marker=">", ms=4, label="slower runs, beyond the axis"))
    return marks


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
        figure, [ax] = panels.grid(1, 1, (OTHER_IN + 1.3 * ROW_IN * len(chosen),))
        draw_bars(ax, medians, chosen)
        if study.STANDARD in medians.index:
            published = PUBLISHED_RATIO * fastest(medians).sum(axis=1)[study.STANDARD]
            ax.axvline(published, color=PAPER_INK, lw=1.1, linestyle=DASHED)
        study.name_arms(ax, chosen)
        ax.set_xlim(0, axis_end(medians, chosen))
        ax.set_xlabel("seconds per step (medians)")
        handles = legend_entries(medians, chosen)
        finish(
            figure,
            "Time of a training step",
            captions.trained(record, steps),
            "right: ratio to standard",
            handles=handles,
        )
    return figure
