"""Spread over seeds: a seed is one run of training."""

from collections.abc import Sequence

import numpy as np

from stats.bootstrap import Interval


def ratio_of_sds(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], confidence: float = 0.95) -> Interval:
    """Return the SD within some groups of runs over that within others, with its interval by the F distribution.

    Args:
        ours: one array of numbers, one number for each seed, for each arm; an arm counts by its degrees of freedom.
        theirs: the same of the other arms.

    Returns:
        Numbers of nan if one side has no two seeds of an arm.
    """
    from scipy.stats import f  # half a second

    (first, df), (second, other_df) = _within(ours), _within(theirs)
    if not df or not other_df:
        return Interval(np.nan, np.nan, np.nan)
    ratio, tail = first / second, (1 - confidence) / 2
    low, high = ratio / f.isf(tail, df, other_df), ratio / f.ppf(tail, df, other_df)
    return Interval(float(np.sqrt(low)), float(np.sqrt(high)), float(np.sqrt(ratio)))


def _within(groups: Sequence[np.ndarray]) -> tuple[float, int]:
    """The variance within groups, and its degrees of freedom."""
    df = sum(len(group) - 1 for group in groups)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return (squares / df if df else np.nan), df
