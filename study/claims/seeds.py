"""Numbers that each seed of a study has: their mean, and its interval over seeds by Student's t."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from scipy.stats import t

from figures.arms import INITIAL
from study.claims.evidence import Evidence, NotMeasured


def half_width(each: np.ndarray) -> float:
    """Return half the 95 % interval of the mean of a number a seed; nan of one seed.

    `study.effects`, the study's own rule, takes 2 for Student's t: 82 % at three seeds.

    >>> round(half_width(np.array([1.0, 2.0, 3.0])), 3)  # 4.303 times 1 / sqrt(3)
    2.484
    """
    n = len(each)
    return float(t.ppf(0.975, n - 1) * each.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def over_seeds(each: np.ndarray, sample: str = "") -> Evidence:
    """Return the evidence of a number a seed; `sample` says what each is of.

    Raises:
        NotMeasured: there is no seed.
    """
    if not len(each):
        raise NotMeasured
    mean, half = float(each.mean()), half_width(each)
    return Evidence(mean, mean - half, mean + half, sample, len(each), float(each.min()), float(each.max()))


def common(columns: pd.Index, arm: str, other: str) -> list[int]:
    """Return the seeds that two arms have, from columns (arm, seed); every run of the untrained student is the same.

    Raises:
        NotMeasured: there is none.
    """
    found = {name: {seed for one, seed in columns if one == name} for name in (arm, other)}
    seeds = sorted(found[arm] if other == INITIAL and found[other] else found[arm] & found[other])
    if not seeds:
        raise NotMeasured
    return seeds


def of_arms(rows: pd.DataFrame, arms: Collection[str]) -> pd.DataFrame:
    """Return the rows of some arms.

    Raises:
        NotMeasured: one of them has none.
    """
    found = rows[rows["arm"].isin(arms)]
    if set(found["arm"]) != set(arms):
        raise NotMeasured
    return found
