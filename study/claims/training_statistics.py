"""Numbers from a record of a study: differences between two arms, and how one arm's run changes.

Differences of accuracies and losses are of the same prompts or rollouts. Numbers that each seed has (losses, ratios,
lengths, times) come with an interval over seeds by Student's t. `study.effects`, the study's own rule, takes 2 instead
of Student's t, which is 82 % at three seeds.
"""

from collections.abc import Callable, Collection, Sequence

import numpy as np
import pandas as pd

from figures.training_norms import implied_eta
from geometry.objective_settings import GAMMA
from records.journal_lines import PHASES
from records.tables.study import ALL_BINS
from stats.bootstrap import bootstrap_interval
from stats.seeds import half_width, mean_over_seeds
from study.arms import INITIAL
from study.claims.claim import Estimate, NotMeasured, ReadTable, Statistic
from study.comparison import PairedRuns, answers_by_run, pair_runs

ALL_TOKENS = (ALL_BINS,)
SCOPE = "all"
Quantity = Callable[[pd.DataFrame], pd.Series]
"""One number for each row of the table `gradients`."""


def accuracy(arm: str, other: str, group: str) -> Statistic:
    """How many points more often an arm's answers to a group of prompts are right than another's.

    A prompt's difference is that of the means over the seeds that both arms have. The interval resamples prompts,
    and so is about these seeds. `study.effects` writes the same for the pairs of arms that it compares.
    """

    def estimate(read: ReadTable) -> Estimate:
        runs = _paired(answers_by_run(_rows_of(read("verdicts"), {arm, other}), group), arm, other)
        each = 100.0 * runs.differences
        interval = bootstrap_interval(each.mean(axis=1), runs.rows.astype(str))
        by_seed = each.mean(axis=0)
        spread = float(by_seed.min()), float(by_seed.max()), half_width(by_seed)
        sample = f"{len(each)} scenes"
        return Estimate(float(by_seed.mean()), interval.low, interval.high, sample, len(by_seed), *spread)

    return Statistic(estimate, (arm, other))


def loss(arm: str, other: str, objective: str, bins: Sequence[int], step: int | None = None) -> Statistic:
    """How many nats higher a loss on the fixed rollouts is than another arm's at the same step, in the mean of bins.

    `initial` has no journal: its loss is the arm's own before the first step. Without a step it is the last step that
    both arms have.
    """
    arms = (arm,) if other == INITIAL else (arm, other)

    def estimate(read: ReadTable) -> Estimate:
        curves = _rows_of(read("curves"), arms)
        rows = curves[(curves["rollouts"] == "fixed") & curves["bin"].isin(bins)]
        wide = rows.pivot_table(index="step", columns=["arm", "seed"], values=f"{objective}_nats", aggfunc="mean")
        runs = _paired(wide, arms[0], arms[-1])
        differences = runs.ours - (runs.ours[:1] if other == INITIAL else runs.theirs)
        each = pd.DataFrame(differences, index=runs.rows).dropna()
        at = each.index.max() if step is None else step
        if at not in each.index:
            raise NotMeasured
        return _over_seeds(each.loc[at].to_numpy())

    return Statistic(estimate, arms)


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
        return _over_seeds(last / first if relative else last - first, sample)

    return Statistic(estimate, (arm,))


def growth(arm: str) -> Statistic:
    """The mean length of own responses at the last evaluation, over that at the first."""

    def estimate(read: ReadTable) -> Estimate:
        rows = _rows_of(read("evaluations"), {arm})
        wide = rows.pivot_table(index="step", columns="seed", values="response_tokens").sort_index()
        return _over_seeds((wide.iloc[-1] / wide.iloc[0]).dropna().to_numpy())

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
        return _over_seeds(ratios.to_numpy())

    return Statistic(estimate, (arm, other))


def _rows_of(rows: pd.DataFrame, arms: Collection[str]) -> pd.DataFrame:
    """Return the rows of some arms; raise `NotMeasured` if one of them has none."""
    chosen = rows[rows["arm"].isin(arms)]
    if set(chosen["arm"]) != set(arms):
        raise NotMeasured
    return chosen


def _paired(wide: pd.DataFrame, arm: str, other: str) -> PairedRuns:
    """Pair two arms by seed; raise `NotMeasured` if they have no seed in common."""
    runs = pair_runs(wide, arm, other)
    if runs is None:
        raise NotMeasured
    return runs


def _over_seeds(each: np.ndarray, sample: str = "") -> Estimate:
    """The estimate from one number for each seed; raise `NotMeasured` if there is no seed."""
    if not len(each):
        raise NotMeasured
    over = mean_over_seeds(each)
    return Estimate(over.mean, over.low, over.high, sample, over.n_seeds, over.least, over.greatest)
