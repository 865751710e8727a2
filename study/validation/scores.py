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
N_RESAMPLES: Final = 2000


def slope(rows: pd.DataFrame) -> float:
    """Return the slope of the realised on the predicted loss, with an intercept; nan where nothing varies."""
    x, y = rows["predicted"].to_numpy(float), rows[LOSS].to_numpy(float)
    centred = x - x.mean() if len(x) else x
    energy = float(centred @ centred)
    return float(centred @ y) / energy if energy > 0.0 else float("nan")


def rank_correlation(rows: pd.DataFrame) -> float:
    """Return Spearman's rank correlation of the predicted and the realised loss; nan where nothing varies."""
    ranks = rows[["predicted", LOSS]].rank()
    if len(ranks) < 2 or (ranks.nunique() < 2).any():
        return float("nan")
    return float(np.corrcoef(ranks["predicted"], ranks[LOSS])[0, 1])


def coverage(rows: pd.DataFrame) -> float:
    """Return the share of realised losses inside the predicted interval; nan without a row."""
    inside = (rows["predicted_low"] <= rows[LOSS]) & (rows[LOSS] <= rows["predicted_high"])
    return float(inside.mean()) if len(rows) else float("nan")


def over_pairs(rows: pd.DataFrame, statistic: Callable[[pd.DataFrame], float], seed: int = 0) -> Interval:
    """Return a statistic of the rows with its 95 % bootstrap interval, resampling pairs with all their settings.

    Returns:
        Bounds of nan if there are fewer than two pairs; resamples without a value are left out.
    """
    members = [frame for _, frame in rows.groupby("pair", sort=True)]
    if len(members) < 2:
        return Interval(np.nan, np.nan, statistic(rows))
    draw = np.random.default_rng(seed)
    drawn = draw.integers(len(members), size=(N_RESAMPLES, len(members)))
    values = np.array([statistic(pd.concat([members[number] for number in numbers])) for numbers in drawn])
    values = values[~np.isnan(values)]
    low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (np.nan, np.nan)
    return Interval(float(low), float(high), statistic(rows))


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
