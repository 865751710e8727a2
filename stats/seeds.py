"""Spread over seeds: a seed is one run of training."""

from collections.abc import Sequence

import numpy as np

from stats._checks import check_confidence, one_axis
from stats.bootstrap import Interval


def ratio_of_sds(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], confidence: float = 0.95) -> Interval:
    """Return the SD within some groups of runs over that within others, with its interval by the F distribution.

    Args:
        ours: one array of numbers, one number for each seed, for each arm; an arm counts by its degrees of freedom.
        theirs: the same of the other arms.

    Returns:
        Numbers of nan if one side has no two seeds of an arm, a number is not finite, or the others do not differ.

    Raises:
        ValueError: confidence is not between 0 and 1, or an arm has no seed, or more axes than one.
    """
    from scipy.stats import f  # half a second

    check_confidence(confidence)
    (first, df), (second, other_df) = _within(ours), _within(theirs)
    if not df or not other_df or not np.isfinite(first) or not 0.0 < second < np.inf:
        return Interval(np.nan, np.nan, np.nan)
    ratio, tail = first / second, (1 - confidence) / 2
    low, high = ratio / f.isf(tail, df, other_df), ratio / f.ppf(tail, df, other_df)
    return Interval(float(np.sqrt(low)), float(np.sqrt(high)), float(np.sqrt(ratio)))


def _within(groups: Sequence[np.ndarray]) -> tuple[float, int]:
    """The variance within groups, and its degrees of freedom."""
    arms = [one_axis(group) for group in groups]
    if not all(map(len, arms)):
        raise ValueError("`ours` and `theirs` must hold a number for at least one seed of each arm: leave others out")
    df = sum(len(arm) - 1 for arm in arms)
    with np.errstate(invalid="ignore"):  # of infinite numbers
        squares = sum(float(((arm - arm.mean()) ** 2).sum()) for arm in arms)
    return (squares / df if df else np.nan), df
