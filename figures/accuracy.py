"""Figure 1 of arXiv:2606.00564: accuracy after training, by what a question depends on.

    python -m figures figures/gallery/study accuracy
    python -m figures RECORD accuracy --arms standard vgs-lp language-steering --out pictures

Reads the tables `verdicts` and `effects` of a record written by `python -m study.effects`.

Points are greedy answers to held-out scenes. Bars are 95 % intervals over seeds: of an accuracy Student's, of a
difference Welch's. Small ticks are single seeds, of a difference the least and the greatest. An arm with one seed, and
the student that is not trained, have no such interval. Their dotted bar is Wilson's interval over scenes, and says
nothing about other seeds. A difference has a full point where it counts by the rule in `study/rules.py`, else an open
one; with one seed nothing counts.

Differences are from standard distillation. A record without it shows those from the arm that most others are compared
with, and none where nothing is compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import arms as study
from figures import captions, panels
from figures.fitting import finish
from figures.sheets import sheet
from figures.style import DOTTED, INK, arm_colour, styled
from records import Measurement
from stats import Difference, sample, share_interval

ROW_IN = 0.135  # height for each arm
OTHER_IN = 0.6  # height of a panel's title, numbers and label


@dataclass(frozen=True)
class Estimate:
    """An accuracy or a difference in percent, with its interval and the values of single seeds."""

    mean: float
    low: float
    high: float
    seeds: Sequence[float]
    full: bool = True
    """Whether its point is full."""
    over_scenes: bool = False
    """Whether the interval is over scenes, because there are too few seeds."""


def accuracy_of(rows: pd.DataFrame) -> Estimate:
    """Return an arm's accuracy with its interval over seeds; with one seed or without training, over scenes.

    rows: of the table `verdicts`, those of one arm.
    """
    each = 100.0 * rows.groupby("seed")["correct"].mean()
    if len(each) > 1 and rows["arm"].iloc[0] != study.INITIAL:
        seeds = sample(each.to_numpy())
        low, high = Difference(seeds.mean, float(np.sqrt(seeds.variance)), seeds.df).interval()
        return Estimate(seeds.mean, max(low, 0.0), min(high, 100.0), each.tolist())
    share = share_interval(rows["correct"], rows["prompt_id"])
    return Estimate(100.0 * share.estimate, 100.0 * share.low, 100.0 * share.high, [], over_scenes=True)


def draw_estimate(ax: Axes, place: float, estimate: Estimate, colour: str) -> None:
    """Draw a point, its interval and its seeds at a height."""
    seeds, inside = estimate.seeds, colour if estimate.full else "white"
    style = DOTTED if estimate.over_scenes else "-"
    ax.hlines(place, estimate.low, estimate.high, color=colour, linewidth=1.3, linestyle=style, zorder=3)
    if len(seeds) > 1:
        ax.plot(seeds, [place] * len(seeds), ls="none", marker="|", color=colour, ms=6.5, mew=0.8, alpha=0.7, zorder=2)
    ax.plot([estimate.mean], [place], ls="none", marker="o", color=colour, mfc=inside, ms=4, zorder=4)


def draw_accuracies(ax: Axes, verdicts: pd.DataFrame, arms: Sequence[str]) -> None:
    """Draw the accuracy of each arm at its height; the place of an arm without answers stays empty."""
    for place, arm in enumerate(arms):
        rows = verdicts[verdicts["arm"] == arm]
        if not rows.empty:
            draw_estimate(ax, place, accuracy_of(rows), arm_colour(arm))
    study.name_arms(ax, arms)


def draw_differences(ax: Axes, effects: pd.DataFrame, arms: Sequence[str], base: str) -> None:
    """Draw each arm's difference from the base in percentage points, with its interval."""
    ax.axvline(0, color=arm_colour(base), linewidth=0.9, zorder=1)
    for row in effects[effects["arm"].isin(arms)].to_dict("records"):
        mean, low, high, *ends = (100.0 * row[name] for name in ("difference", "low", "high", "least", "greatest"))
        counts = row["counts_as"] in ("better", "worse")
        estimate = Estimate(mean, low, high, ends if row["n_seeds"] > 1 else [], full=counts)
        draw_estimate(ax, arms.index(row["arm"]), estimate, arm_colour(row["arm"]))
    study.name_arms(ax, arms)


def against(effects: pd.DataFrame, base: str, group: str) -> pd.DataFrame:
    """Return the rows that compare accuracy on a group of scenes with that of an arm."""
    wanted = (effects["quantity"] == "correct") & (effects["against"] == base)
    return effects[wanted & (effects["where"] == group)]


def against_standard(effects: pd.DataFrame, group: str) -> pd.DataFrame:
    """Return the rows that compare accuracy on a group of scenes with standard distillation."""
    return against(effects, study.STANDARD, group)


def base_of(effects: pd.DataFrame, arms: Sequence[str]) -> str:
    """Return the arm that differences are taken from: standard, else that of most rows; "" if nothing is compared."""
    rows = effects[(effects["quantity"] == "correct") & effects["arm"].isin(arms)]
    rows = rows[rows["against"] != study.INITIAL]
    if rows.empty:
        return ""
    return study.STANDARD if (rows["against"] == study.STANDARD).any() else str(rows["against"].mode()[0])


def legend_entries(estimates: Sequence[Estimate], differences: pd.DataFrame | None) -> list[Artist]:
    """Return one handle for each kind of mark that is drawn.

    differences: the rows of `effects` that are drawn; None where the picture has none.
    """
    entries: list[Artist] = []
    if any(not one.over_scenes for one in estimates):
        entries.append(Line2D([], [], color=INK, lw=1.3, label="95 % interval over seeds"))
    if any(len(one.seeds) > 1 for one in estimates):
        entries.append(
            _mark(
                "|", INK, f"single seeds{'' if differences is None else '; of a difference the least and the greatest'}"
            )
        )
    if any(one.over_scenes for one in estimates):
        entries.append(
            Line2D([], [], color=INK, lw=1.3, ls=DOTTED, label="one seed or none: 95 % interval over scenes")
        )
    if differences is None:
        return entries
    counts = differences["counts_as"].isin(("better", "worse"))
    if counts.any():
        entries.append(_mark("o", INK, "difference that counts"))
    if not counts.all():
        entries.append(_mark("o", "white", "difference that does not count"))
    return entries


def draw(record: Measurement, arms: Sequence[str] | None = None) -> Figure:
    """Draw accuracy by dependency group, and the differences from standard."""
    verdicts, effects = record.table("verdicts"), record.table("effects")
    chosen = study.choose(record, "verdicts", arms, study.MAIN)
    groups = [group for group in study.GROUPS if group in set(verdicts["group"])]
    base = base_of(effects, chosen)
    kinds = 2 if base else 1
    with styled():
        across = sheet().across(len(groups), kinds)
        figure, axes = panels.grid(kinds * len(groups), across, (OTHER_IN + ROW_IN * len(chosen),), sharey=True)
        for number, group in enumerate(groups):
            rows = verdicts[verdicts["group"] == group]
            above = axes[kinds * number if sheet().narrow else number]
            draw_accuracies(above, rows, chosen)
            above.set_title(f"({'abc'[number]}) {group}: {study.GROUP_NAMES[group]}")
            above.set_xlabel("greedy accuracy (%)")
            if base:
                below = axes[kinds * number + 1 if sheet().narrow else len(groups) + number]
                draw_differences(below, against(effects, base, group), chosen, base)
                below.set_xlabel(f"points from {base}")
        for ax in axes:
            ax.locator_params(axis="x", nbins=4)
        scenes = verdicts.groupby("group")["prompt_id"].nunique()
        counts = ", ".join(f"{group} {scenes[group]}" for group in groups)
        estimates = [accuracy_of(rows) for _, rows in verdicts[verdicts["arm"].isin(chosen)].groupby(["arm", "group"])]
        differences = effects[(effects["against"] == base) & (effects["quantity"] == "correct")]
        handles = legend_entries(estimates, differences[differences["arm"].isin(chosen)] if base else None)
        finish(
            figure, "Accuracy after training", captions.trained(record, verdicts), f"scenes: {counts}", handles=handles
        )
    return figure


def _mark(marker: str, inside: str, label: str) -> Line2D:
    return Line2D([], [], color=INK, ls="none", marker=marker, mfc=inside, ms=6 if marker == "|" else 4, label=label)
