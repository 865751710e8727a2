"""Power of Welch's test by the noncentral t distribution: chance of a result, smallest effect, number of seeds."""

from collections.abc import Callable

import numpy as np

from stats.welch import Difference, Sample, compare

MOST_SEEDS = 100_000
"""Where the search for a number of seeds ends."""


def power(effect: float, difference: Difference, alpha: float = 0.05) -> float:
    """Return the chance that a two-sided test finds a true effect.

    Args:
        effect: the true difference, in the unit of the values.
        difference: supplies the standard error and its degrees of freedom; its own value plays no part.

    Returns:
        nan if there is no standard error.
    """
    from scipy.stats import nct, norm, t  # half a second

    error, df = difference.standard_error, difference.df
    if np.isnan(error) or np.isnan(df):
        return float("nan")
    if error == 0:
        return 1.0 if effect else alpha
    shift, critical = abs(effect) / error, float(t.ppf(1 - alpha / 2, df))
    if np.isinf(df):
        return float(norm.sf(critical - shift) + norm.cdf(-critical - shift))
    if shift - critical > 30:  # where scipy's noncentral t gives up
        return 1.0
    other_side = np.nan_to_num(nct.cdf(-critical, df, shift))  # scipy gives nan where it is below 1e-9
    return float(nct.sf(critical, df, shift) + other_side)


def detectable(difference: Difference, chance: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest true effect that a two-sided test finds with this chance, above 0.

    Returns:
        nan if there is no standard error, 0 if it is 0.
    """
    from scipy.optimize import brentq  # half a second

    error = difference.standard_error
    if np.isnan(error) or np.isnan(difference.df) or error == 0:
        return 0.0 if error == 0 else float("nan")
    unit = Difference(0.0, 1.0, difference.df)
    high = _doubled(lambda shift: power(shift, unit, alpha) >= chance)
    return float(brentq(lambda shift: power(shift, unit, alpha) - chance, 0.0, high, xtol=1e-6)) * error


def seeds_needed(effect: float, ours: Sample, theirs: Sample, chance: float = 0.8, alpha: float = 0.05) -> float:
    """Return how many seeds each arm needs for a two-sided Welch test to find an effect with this chance.

    The SDs are those of the samples. A constant needs no seeds, and stays one.

    Returns:
        A whole number of at least 2; nan if an SD is missing, infinite if more than `MOST_SEEDS` are needed.

    Raises:
        ValueError: the effect is 0.
    """
    if effect == 0:
        raise ValueError("`effect` must not be 0: no number of seeds finds it")
    if np.isnan(ours.sd) or np.isnan(theirs.sd):
        return float("nan")

    def enough(n: int) -> bool:
        return power(effect, compare(_with_seeds(ours, n), _with_seeds(theirs, n)), alpha) >= chance

    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return float("inf")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)


def _with_seeds(one: Sample, n: int) -> Sample:
    """The same SD from so many seeds; a constant as it is."""
    return one if np.isinf(one.df) else Sample(one.mean, one.sd, n, n - 1)


def _doubled(reached: Callable[[float], bool]) -> float:
    high = 1.0
    while not reached(high):
        high *= 2
    return high
