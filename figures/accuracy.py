"""Figure 1 of arXiv:2606.00564: accuracy after training, by what a question depends on.

    python -m figures figures/gallery/study accuracy
    python -m figures RECORD accuracy --arms standard vgs-lp language-steering --out pictures

Reads the tables `verdicts` and `effects` of a record written by `python -m study.effects`.

Points are greedy answers to held-out scenes. Bars are 95 % intervals: of an accuracy Wilson's over scenes, of a
difference Welch's over seeds. Small ticks are single seeds, of a difference the least and the greatest. A difference
has a full point where it counts by the rule in `study/rules.py`, else an open one; with one seed nothing counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import arms as study
from figures import captions
from figures.style import WIDE_WIDTH_IN, arm_colour, styled
from records import Measurement
from stats import share_interval

ROW_IN = 0.17  # height for each arm


@dataclass(frozen=True)
class Estimate:
    """An accuracy or a difference in percent, with its interval and the values of single seeds."""

    mean: float
    low: float
    high: float
    seeds: Sequence[float]
    full: bool = True
    """Whether its point is full."""


def draw_estimate(ax: Axes, place: float, estimate: Estimate, colour: str) -> None:
    """Draw a point, its interval and its seeds at a height."""
    seeds, inside = estimate.seeds, colour if estimate.full else "white"
    ax.hlines(place, estimate.low, estimate.high, color=colour, linewidth=1.3, zorder=3)
    if len(seeds) > 1:
        ax.plot(seeds, [place] * len(seeds), ls="none", marker="|", color=colour, ms=6.5, mew=0.8, alpha=0.7, zorder=2)
    ax.plot([estimate.mean], [place], ls="none", marker="o", color=colour, mfc=inside, ms=4, zorder=4)


def draw_accuracies(ax: Axes, verdicts: pd.DataFrame, arms: Sequence[str]) -> None:
    """Draw the accuracy of each arm at its height; the place of an arm without answers stays empty."""
    for place, arm in enumerate(arms):
        rows = verdicts[verdicts["arm"] == arm]
        if rows.empty:
            continue
        share = share_interval(rows["correct"], rows["prompt_id"])
        seeds = (100.0 * rows.groupby("seed")["correct"].mean()).tolist()
        estimate = Estimate(100.0 * share.estimate, 100.0 * share.low, 100.0 * share.high, seeds)
        draw_estimate(ax, place, estimate, arm_colour(arm))
    study.name_arms(ax, arms)


def draw_differences(ax: Axes, effects: pd.DataFrame, arms: Sequence[str]) -> None:
    """Draw each arm's difference from standard in percentage points, with its interval."""
    ax.axvline(0, color=arm_colour(study.STANDARD), linewidth=0.9, zorder=1)
    for row in effects[effects["arm"].isin(arms)].to_dict("records"):
        mean, low, high, *ends = (100.0 * row[name] for name in ("difference", "low", "high", "least", "greatest"))
        counts = row["counts_as"] in ("better", "worse")
        estimate = Estimate(mean, low, high, ends if row["n_seeds"] > 1 else [], full=counts)
        draw_estimate(ax, arms.index(row["arm"]), estimate, arm_colour(row["arm"]))
    study.name_arms(ax, arms)


def against_standard(effects: pd.DataFrame, group: str) -> pd.DataFrame:
    """Return the rows that compare accuracy on a group of scenes with standard distillation."""
    wanted = (effects["quantity"] == "correct") & (effects["against"] == study.STANDARD)
    return effects[wanted & (effects["where"] == group)]


def draw(record: Measurement, arms: Sequence[str] | None = None) -> Figure:
    """Draw accuracy by dependency group, and below it the differences from standard."""
    verdicts, effects = record.table("verdicts"), record.table("effects")
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
        captions.entitle(figure, "Accuracy after training", captions.trained(record, verdicts))
    return figure
