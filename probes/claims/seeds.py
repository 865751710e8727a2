"""Numbers that each seed of a study has: their mean, and twice its standard error over seeds either way."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from figures.arms import INITIAL
from probes.claims.evidence import Evidence, NotMeasured


def over_seeds(each: np.ndarray) -> Evidence:
    """Return the evidence of a number a seed, by the rule of `train.effects` for losses.

    Raises:
        NotMeasured: there is no seed.
    """
    if not len(each):
        raise NotMeasured
    mean = float(each.mean())
    half = 2.0 * float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else float("nan")
    return Evidence(mean, mean - half, mean + half, "", len(each), float(each.min()), float(each.max()))


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
