"""Numbers that each seed of training gives: their mean, and how sure it is over seeds.

A seed is one run. Two arms are compared on the seeds that both have, because a seed fixes the prompts of each step.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from stats._checks import check_confidence, one_axis
from stats.bootstrap import Array


@dataclass(frozen=True)
class SeedMean:
    """The mean over seeds with its confidence interval by Student's t, and the least and greatest seed."""

    mean: float
    low: float
    high: float
    least: float
    greatest: float
    n_seeds: int


def mean_over_seeds(values: Float[Array, " seeds"], confidence: float = 0.95) -> SeedMean:
    """Return the mean of one number for each seed, with its interval by Student's t.

    Returns:
        Bounds of nan if there is one seed, or a number is nan or infinite.

    Raises:
        ValueError: there is no seed, there are more axes than one, or confidence is not between 0 and 1.
    """
    values = one_axis(values)
    if not len(values):
        raise ValueError("`values` must hold a number for at least one seed, got none")
    mean, half = float(values.mean()), half_width(values, confidence)
    return SeedMean(mean, mean - half, mean + half, float(values.min()), float(values.max()), len(values))


def half_width(values: Float[Array, " seeds"], confidence: float = 0.95) -> float:
    """Return half the confidence interval of the mean by Student's t.

    nan for fewer than two seeds, and where a number is nan or infinite.

    >>> round(half_width(np.array([1.0, 2.0, 3.0])), 3)  # 4.303 times 1 / sqrt(3)
    2.484

    Raises:
        ValueError: there are more axes than one, or confidence is not between 0 and 1.
    """
    from scipy.stats import t  # half a second

    check_confidence(confidence)
    values = one_axis(values)
    if len(values) < 2:
        return float("nan")
    return float(t.ppf((1 + confidence) / 2, len(values) - 1)) * standard_error(values)


def standard_error(values: Float[Array, " seeds"]) -> float:
    """Return the standard error of the mean over seeds.

    nan for fewer than two seeds, and where a number is nan or infinite.

    >>> standard_error(np.array([1.0, 3.0]))
    1.0

    Raises:
        ValueError: there are more axes than one.
    """
    values = one_axis(values)
    if len(values) < 2 or not np.isfinite(values).all():
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def common_seeds(ours: Iterable[int], theirs: Iterable[int]) -> list[int]:
    """Return the seeds that two arms both have, in order.

    >>> common_seeds([2, 0, 1], [1, 2, 3])
    [1, 2]
    """
    return sorted({*ours} & {*theirs})
