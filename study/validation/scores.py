"""How well predicted differences agree with realised ones: slope, rank correlation, coverage, and a table of verdicts.

Settings of one pair are not independent, so pairs are what is resampled.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd

from probes.diagnosis.judging import PASSES, UNDECIDED
from stats import Interval
from study.rules import ACCURACY_MARGIN, LOSS_MARGIN
from study.validation.reading import LOSS, POINTS

HELPS, HARMS, SAME, UNCLEAR = "helps", "harms", "no difference", "unclear"
OUTCOMES: Final = (HELPS, SAME, HARMS, UNCLEAR)
FAILS: Final = "fails"
MARGINS: Final = {LOSS: LOSS_MARGIN, POINTS: ACCURACY_MARGIN}
LEAST_PAIRS: Final = 5
"""Fewer pairs are not judged: the interval of a rank correlation says nothing yet."""
N_RESAMPLES: Final = 1000


def slope(rows: pd.DataFrame) -> float:
    """Return the slope of the realised on the predicted loss, with an intercept; nan where nothing varies."""
    return _slope(_values(rows))


def rank_correlation(rows: pd.DataFrame) -> float:
    """Return Spearman's rank correlation of the predicted and the realised loss; nan where nothing varies."""
    return _rank_correlation(_values(rows))


def coverage(rows: pd.DataFrame) -> float:
    """Return the share of realised losses inside the predicted interval; nan without a row."""
    return _coverage(_values(rows))


def over_pairs(rows: pd.DataFrame, statistic: Callable[[pd.DataFrame], float], seed: int = 0) -> Interval:
    """Return a statistic with its 95 % bootstrap interval, resampling pairs with all their settings.

    Args:
        statistic: `slope`, `rank_correlation` or `coverage`.

    Returns:
        Bounds of nan if there are fewer than two pairs; resamples without a value are left out.
    """
    values, (_, member) = _values(rows), np.unique(rows["pair"].to_numpy(str), return_inverse=True)
    members = [values[member == number] for number in range(len(set(member)))]
    if len(members) < 2:
        return Interval(np.nan, np.nan, statistic(rows))
    drawn = np.random.default_rng(seed).integers(len(members), size=(N_RESAMPLES, len(members)))
    of_values = _OF_VALUES[statistic]
    every = np.array([of_values(np.concatenate([members[number] for number in numbers])) for numbers in drawn])
    every = every[~np.isnan(every)]
    low, high = np.quantile(every, [0.025, 0.975]) if len(every) else (np.nan, np.nan)
    return Interval(float(low), float(high), statistic(rows))


def _values(rows: pd.DataFrame) -> np.ndarray:
    """Predicted, its interval, and realised: `[rows, 4]`."""
    return rows[["predicted", "predicted_low", "predicted_high", LOSS]].to_numpy(float)


def _slope(values: np.ndarray) -> float:
    if not len(values):
        return float("nan")
    centred = values[:, 0] - values[:, 0].mean()
    energy = float(centred @ centred)
    return float(centred @ values[:, 3]) / energy if energy > 0.0 else float("nan")


def _rank_correlation(values: np.ndarray) -> float:
    from scipy.stats import rankdata  # half a second

    if len(values) < 2:
        return float("nan")
    ranks = rankdata(values[:, [0, 3]], axis=0) - (len(values) + 1) / 2
    energy = float(np.sqrt((ranks[:, 0] @ ranks[:, 0]) * (ranks[:, 1] @ ranks[:, 1])))
    return float(ranks[:, 0] @ ranks[:, 1]) / energy if energy > 0.0 else float("nan")


def _coverage(values: np.ndarray) -> float:
    inside = (values[:, 1] <= values[:, 3]) & (values[:, 3] <= values[:, 2])
    return float(inside.mean()) if len(values) else float("nan")


_OF_VALUES: Final = {slope: _slope, rank_correlation: _rank_correlation, coverage: _coverage}


def outcome(low: float, high: float, endpoint: str) -> str:
    """Return what training with a setting came to, from the 95 % interval of its difference from standard.

    >>> outcome(-0.2, -0.1, "loss"), outcome(1.0, 3.0, "points"), outcome(-0.01, 0.01, "loss"), outcome(-1, 9, "points")
    ('helps', 'helps', 'no difference', 'unclear')
    """
    if high < 0.0:
        return HELPS if endpoint == LOSS else HARMS
    if low > 0.0:
        return HARMS if endpoint == LOSS else HELPS
    return SAME if -MARGINS[endpoint] < low and high < MARGINS[endpoint] else UNCLEAR


def confusion(rows: pd.DataFrame, endpoint: str) -> pd.DataFrame:
    """Return how many settings had each verdict of the trial, in rows, and each outcome of training, in columns.

    Settings without the endpoint are left out.
    """
    kept = rows[rows[endpoint].notna()]
    verdicts = [one if one in (PASSES, UNDECIDED) else FAILS for one in kept["trial"]]
    outcomes = [outcome(row[f"{endpoint}_low"], row[f"{endpoint}_high"], endpoint) for row in kept.to_dict("records")]
    counts = pd.DataFrame(0, index=[PASSES, FAILS, UNDECIDED], columns=list(OUTCOMES))
    for verdict, came in zip(verdicts, outcomes, strict=True):
        counts.loc[verdict, came] += 1
    return counts
