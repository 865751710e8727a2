"""Numbers from studies of training: differences of accuracy and of losses between any two arms."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from figures.arms import INITIAL
from records.tables.study import ALL_BINS
from stats.bootstrap import bootstrap_interval
from study.claims.evidence import Evidence, NotMeasured, Statistic, Tables
from study.claims.seeds import common, half_width, of_arms, over_seeds

VISUAL_BINS = (7, 8, 9)
ALL_TOKENS = (ALL_BINS,)


def accuracy(arm: str, other: str, group: str) -> Statistic:
    """How many points more often an arm's answers to a group of scenes are right than another's.

    A scene's difference is that of the means over the seeds that both arms have; the interval resamples scenes, and so
    speaks of these seeds. It is what `study.effects` writes of the pairs of arms that it knows.
    """

    def of(tables: Tables) -> Evidence:
        verdicts = of_arms(tables("verdicts"), {arm, other})
        rows = verdicts[verdicts["group"] == group]
        wide = rows.pivot_table(index="prompt_id", columns=["arm", "seed"], values="correct", aggfunc="mean")
        each = 100.0 * _differences(wide, arm, other)
        found = bootstrap_interval(each.mean(axis=1), wide.index.to_numpy(str))
        by_seed = each.mean(axis=0)
        spread = float(by_seed.min()), float(by_seed.max()), half_width(by_seed)
        return Evidence(float(by_seed.mean()), found.low, found.high, f"{len(each)} scenes", len(by_seed), *spread)

    return Statistic(of, (arm, other))


def _differences(wide: pd.DataFrame, arm: str, other: str) -> np.ndarray:
    """An arm's columns minus another's, `[rows, seeds]`; the untrained student's first stands for all."""
    seeds = common(wide.columns, arm, other)
    theirs = wide[[other]].iloc[:, :1] if other == INITIAL else wide[other][seeds]
    return wide[arm][seeds].to_numpy() - theirs.to_numpy()


def loss(arm: str, other: str, objective: str, bins: Sequence[int], step: int | None = None) -> Statistic:
    """How many nats higher a loss on the fixed rollouts is than another arm's at the same step, in the mean of bins.

    Of `initial`, which has no journal, it is the arm's own loss before its first step. Without a step it is the last
    that both arms have.
    """
    arms = (arm,) if other == INITIAL else (arm, other)

    def of(tables: Tables) -> Evidence:
        curves = of_arms(tables("curves"), arms)
        rows = curves[(curves["rollouts"] == "fixed") & curves["bin"].isin(bins)]
        wide = rows.pivot_table(index="step", columns=["arm", "seed"], values=f"{objective}_nats", aggfunc="mean")
        seeds = common(wide.columns, arms[0], arms[-1])
        theirs = wide[arm].iloc[0] if other == INITIAL else wide[other]
        each = (wide[arm] - theirs)[seeds].dropna()
        at = each.index.max() if step is None else step
        if at not in each.index:
            raise NotMeasured
        return over_seeds(each.loc[at].to_numpy())

    return Statistic(of, arms)
