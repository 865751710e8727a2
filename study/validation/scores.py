"""How well predicted differences agree with realised ones: slope, rank correlation, coverage, and a table of verdicts.

Settings of one pair are not independent, so pairs are what is resampled.
"""

from collections import Counter
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


Statistic = Callable[[np.ndarray], float]
"""`slope`, `rank_correlation` or `coverage`: from what `numbers` returns."""


def numbers(rows: pd.DataFrame) -> np.ndarray:
    """Return the predicted loss, the ends of its interval, and the realised loss: `[rows, 4]`."""
    return rows[["predicted", "predicted_low", "predicted_high", LOSS]].to_numpy(float)


def slope(values: np.ndarray) -> float:
    """Return the slope of the realised on the predicted loss, with an intercept; nan where nothing varies."""
    if not len(values):
        return float("nan")
    centred = values[:, 0] - values[:, 0].mean()
    energy = float(centred @ centred)
    return float(centred @ values[:, 3]) / energy if energy > 0.0 else float("nan")


def rank_correlation(values: np.ndarray) -> float:
    """Return Spearman's rank correlation of the predicted and the realised loss; nan where nothing varies."""
    from scipy.stats import rankdata  # half a second

    if len(values) < 2:
        return float("nan")
    ranks = rankdata(values[:, [0, 3]], axis=0) - (len(values) + 1) / 2
    energy = float(np.sqrt((ranks[:, 0] @ ranks[:, 0]) * (ranks[:, 1] @ ranks[:, 1])))
    return float(ranks[:, 0] @ ranks[:, 1]) / energy if energy > 0.0 else float("nan")


def coverage(values: np.ndarray) -> float:
    """Return the share of realised losses inside the predicted interval; nan without a row."""
    inside = (values[:, 1] <= values[:, 3]) & (values[:, 3] <= values[:, 2])
    return float(inside.mean()) if len(values) else float("nan")


def over_pairs(rows: pd.DataFrame, statistic: Statistic, seed: int = 0) -> Interval:
    """Return a statistic of the rows with its 95 % bootstrap interval, resampling pairs with all their settings.

    Returns:
        Bounds of nan if there are fewer than two pairs; resamples without a value are left out.
    """
    values, (names, member) = numbers(rows), np.unique(rows["pair"].to_numpy(str), return_inverse=True)
    estimate = statistic(values)
    if len(names) < 2:
        return Interval(np.nan, np.nan, estimate)
    members = [values[member == number] for number in range(len(names))]
    drawn = np.random.default_rng(seed).integers(len(members), size=(N_RESAMPLES, len(members)))
    every = np.array([statistic(np.concatenate([members[number] for number in chosen])) for chosen in drawn])
    every = every[~np.isnan(every)]
    low, high = np.quantile(every, [0.025, 0.975]) if len(every) else (np.nan, np.nan)
    return Interval(float(low), float(high), estimate)


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
    counts = Counter(zip(verdicts, outcomes, strict=True))
    rows_of = {verdict: [counts[verdict, came] for came in OUTCOMES] for verdict in (PASSES, FAILS, UNDECIDED)}
    return pd.DataFrame.from_dict(rows_of, orient="index", columns=list(OUTCOMES))
