"""Numbers from a record of a study: differences between two arms, and how one arm's run changes.

Every number comes with its evidence over seeds, by the rule of `study.rules`: two arms are compared unpaired, and a
number that each run has by itself, such as the growth of its responses, is compared with a constant.
"""

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
import pandas as pd

from figures.training_norms import implied_eta
from geometry.objective_settings import GAMMA
from records.journal_lines import PHASES
from records.tables.study import ALL_BINS
from stats.seeds import ratio_of_sds
from study.arms import INITIAL
from study.claims.claim import Estimate, NotMeasured, ReadTable, Statistic
from study.comparison import CORRECT, Contrast, contrast_arms, primary_contrasts, run_accuracies
from study.evidence import Evidence, Terms, between
from study.rules import ACCURACY_MARGIN, LOSS_MARGIN, PRIMARY_GROUP, PRIMARY_SEEDS

ALL_TOKENS = (ALL_BINS,)
SCOPE = "all"
CLIP_NORM = 1.0
"""The clip of the study's runs."""
RATIO_MARGIN = 0.1
"""Change of a ratio or a cosine that the number of seeds is stated for."""
Quantity = Callable[[pd.DataFrame], pd.Series]
"""One number for each row of the table `gradients`."""
Seeds = range | None
"""The seeds that count; None for all."""


def accuracy(arm: str, other: str, group: str, seeds: Seeds = None) -> Statistic:
    """How many points more often an arm's answers to a group of scenes are right than another's."""
    contrast = Contrast(arm, other, CORRECT, group)

    def estimate(read: ReadTable) -> Estimate:
        rows = _rows_of(read("verdicts"), {arm, other}, seeds)
        evidence = contrast_arms(run_accuracies(rows, group), contrast)
        return _of(evidence, f"{rows.loc[rows['group'] == group, 'prompt_id'].nunique()} scenes")

    return Statistic(estimate, (arm, other), tuple(seeds or ()))


def primary_accuracy(arm: str, other: str) -> Statistic:
    """The same of a primary contrast, whose p-value is adjusted for all of them.

    It is not measured until both arms have all seeds that the rules name: fewer are not judged on the way.
    """
    contrast = Contrast(arm, other, CORRECT, PRIMARY_GROUP)

    def estimate(read: ReadTable) -> Estimate:
        verdicts = read("verdicts")
        rows = verdicts[verdicts["group"] == PRIMARY_GROUP]
        for one in (arm, other):
            if not set(PRIMARY_SEEDS) <= set(rows.loc[rows["arm"] == one, "seed"]):
                raise NotMeasured(f"{one}, seeds {PRIMARY_SEEDS[0]} to {PRIMARY_SEEDS[-1]}")
        n_scenes = rows["prompt_id"].nunique()
        return _of(primary_contrasts(verdicts).get(contrast), f"{n_scenes} scenes")

    return Statistic(estimate, (arm, other), tuple(PRIMARY_SEEDS))


def loss(arm: str, other: str, objective: str, bins: Sequence[int], step: int | None = None) -> Statistic:
    """How many nats higher a loss on the fixed rollouts is than another arm's at the same step, in the mean of bins.

    `initial` has no journal: its loss is the arm's own before the first step. Without a step it is the last step that
    both arms have.
    """
    arms = (arm,) if other == INITIAL else (arm, other)

    def estimate(read: ReadTable) -> Estimate:
        curves = _rows_of(read("curves"), arms)
        fixed = curves[(curves["rollouts"] == "fixed") & curves["bin"].isin(bins)]
        runs = fixed.pivot_table(index="step", columns=["arm", "seed"], values=f"{objective}_nats", aggfunc="mean")
        at = _last_common(runs) if step is None else step
        if at not in runs.index:
            raise NotMeasured
        ours, first = (_seeds_of(pd.Series(runs.loc[number]), arm) for number in (at, runs.index.min()))
        if other == INITIAL:
            return _changes(ours - first, LOSS_MARGIN)
        return _of(between(ours, _seeds_of(pd.Series(runs.loc[at]), other), Terms(LOSS_MARGIN)))

    return Statistic(estimate, arms)


def mean_loss(arm: str, other: str, objective: str, steps: range, seeds: Seeds = None) -> Statistic:
    """How many nats higher the mean of a loss over steps is, of all tokens of the rollouts of training."""

    def estimate(read: ReadTable) -> Estimate:
        curves = _rows_of(read("curves"), {arm, other}, seeds)
        rows = curves[(curves["rollouts"] == "training") & curves["bin"].isin(ALL_TOKENS) & curves["step"].isin(steps)]
        runs = rows.groupby(["arm", "seed"])[f"{objective}_nats"].mean()
        return _of(between(_seeds_of(runs, arm), _seeds_of(runs, other), Terms(LOSS_MARGIN)))

    return Statistic(estimate, (arm, other), tuple(seeds or ()))


def sd_ratio(arms: Sequence[str], others: Sequence[str], group: str) -> Statistic:
    """The SD over seeds of accuracy, pooled over some arms, over that of others, with its F interval."""

    def estimate(read: ReadTable) -> Estimate:
        runs = run_accuracies(_rows_of(read("verdicts"), {*arms, *others}), group)
        ours, theirs = ([_seeds_of(runs, arm) for arm in names] for names in (arms, others))
        interval = ratio_of_sds(ours, theirs)
        sample = f"{sum(map(len, ours))} and {sum(map(len, theirs))} runs"
        return Estimate(interval.estimate, interval.low, interval.high, sample)

    return Statistic(estimate, (*arms, *others))


def clipped(arm: str, other: str) -> Statistic:
    """How many points more of an arm's steps have a gradient longer than `CLIP_NORM` than of another's."""

    def estimate(read: ReadTable) -> Estimate:
        steps = _rows_of(read("steps"), {arm, other})
        shares = 100.0 * (steps["gradient_norm"] > CLIP_NORM).groupby([steps["arm"], steps["seed"]]).mean()
        ours, theirs = _seeds_of(shares, arm), _seeds_of(shares, other)
        sample = f"{ours.mean():.0f} and {theirs.mean():.0f} % of steps"
        return _of(between(ours, theirs, Terms(ACCURACY_MARGIN)), sample)

    return Statistic(estimate, (arm, other))


def eta(rows: pd.DataFrame) -> pd.Series:
    """The eta that keeps the length of the standard gradient at the published gamma (arXiv:2606.00564, Eq. 15)."""
    return implied_eta(rows, GAMMA)


def norm_ratio(rows: pd.DataFrame) -> pd.Series:
    """The length of the visual gradient over that of the standard one."""
    return rows["norm_visual"] / rows["norm_standard"]


def cosine(rows: pd.DataFrame) -> pd.Series:
    """The cosine of the standard and the visual gradient."""
    return np.cos(np.deg2rad(rows["angle_standard_visual_deg"]))


def drift(arm: str, quantity: Quantity, relative: bool = True) -> Statistic:
    """The mean of a quantity over the last third of the measured steps, over (or minus) that over the first third."""

    def estimate(read: ReadTable) -> Estimate:
        gradients = _rows_of(read("gradients"), {arm})
        rows = gradients[gradients["scope"] == SCOPE]
        wide = rows.assign(value=quantity(rows)).pivot(index="step", columns="seed", values="value").sort_index()
        third = max(1, len(wide) // 3)
        first, last = wide.iloc[:third].mean().to_numpy(), wide.iloc[-third:].mean().to_numpy()
        sample = f"first and last {third} of {len(wide)} measured steps"
        return _changes(last / first if relative else last - first, RATIO_MARGIN, sample)

    return Statistic(estimate, (arm,))


def growth(arm: str) -> Statistic:
    """The mean length of own responses at the last evaluation, over that at the first."""

    def estimate(read: ReadTable) -> Estimate:
        rows = _rows_of(read("evaluations"), {arm})
        wide = rows.pivot_table(index="step", columns="seed", values="response_tokens").sort_index()
        return _changes((wide.iloc[-1] / wide.iloc[0]).dropna().to_numpy(), RATIO_MARGIN)

    return Statistic(estimate, (arm,))


def step_time(arm: str, other: str) -> Statistic:
    """The median seconds of a step, all phases together, over those of another arm."""

    def estimate(read: ReadTable) -> Estimate:
        rows = _rows_of(read("steps"), {arm, other})
        seconds = rows[[f"{phase}_seconds" for phase in PHASES]].sum(axis=1)
        medians = seconds.groupby([rows["arm"], rows["seed"]]).median()
        ratios = (medians[arm] / medians[other]).dropna()
        if ratios.empty:
            raise NotMeasured
        return _changes(ratios.to_numpy(), RATIO_MARGIN)

    return Statistic(estimate, (arm, other))


def _rows_of(rows: pd.DataFrame, arms: Collection[str], seeds: Seeds = None) -> pd.DataFrame:
    """Return the rows of some arms and seeds; raise `NotMeasured` if an arm has none."""
    chosen = rows[rows["arm"].isin(arms)]
    if seeds is not None:
        chosen = chosen[chosen["seed"].isin(seeds)]
    if set(chosen["arm"]) != set(arms):
        raise NotMeasured
    return chosen


def _seeds_of(runs: pd.Series, arm: str) -> np.ndarray:
    """Return an arm's numbers from those of all (arm, seed); raise `NotMeasured` if it has none."""
    values = runs[runs.index.get_level_values("arm") == arm].dropna().to_numpy()
    if not len(values):
        raise NotMeasured
    return values


def _last_common(runs: pd.DataFrame) -> int:
    """Return the last step that all runs have; raise `NotMeasured` if there is none."""
    steps = runs.dropna().index
    if steps.empty:
        raise NotMeasured
    return int(steps.max())


def _of(evidence: Evidence | None, sample: str = "") -> Estimate:
    """The estimate that some evidence gives; raise `NotMeasured` if there is none."""
    if evidence is None:
        raise NotMeasured
    low, high = evidence.difference.interval() if evidence.judged else (math.nan, math.nan)
    return Estimate(evidence.difference.value, low, high, sample, evidence)


def _changes(each: np.ndarray, margin: float, sample: str = "") -> Estimate:
    """The estimate from one number for each seed, compared with 0; raise `NotMeasured` if there is no seed."""
    if not len(each):
        raise NotMeasured
    return _of(between(each, 0.0, Terms(margin)), sample)
