"""Welch's t test of two groups of runs, with or without a prior SD, and two one-sided tests of equivalence.

A run gives one number, so a seed is one observation. A `Sample` is what the test needs of a group; `compare` makes a
`Difference` of two, which has the interval and the p-values.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from stats._checks import check_confidence, one_axis
from stats.bootstrap import Array


@dataclass(frozen=True)
class Prior:
    """An SD that is held before the runs, and the degrees of freedom that it counts for."""

    sd: float
    df: float

    def __post_init__(self) -> None:
        if not (0.0 <= self.sd < np.inf and 0.0 <= self.df < np.inf):
            raise ValueError(
                f"`sd` and `df` must be at least 0 and finite, got {self.sd} and {self.df}: leave the prior out"
            )


@dataclass(frozen=True)
class Sample:
    """The mean of a group over its seeds, and the SD that it is judged by, in the unit of the values.

    df: degrees of freedom of the SD; infinite for a constant, whose SD is 0.
    """

    mean: float
    sd: float
    n: int
    df: float
    pooled: bool = False
    """Whether a prior is part of the SD."""

    @property
    def variance(self) -> float:
        """The variance of the mean."""
        return self.sd**2 / self.n


def sample(values: Float[Array, " seeds"], prior: Prior | None = None) -> Sample:
    """Return the mean and SD of one number for each seed.

    With a prior, the variance is the average of both, weighted by degrees of freedom:

        (prior.df * prior.sd^2 + (n - 1) * s^2) / (prior.df + n - 1)

    Returns:
        An SD of nan for one seed without a prior, and where a number is nan or infinite.

    Raises:
        ValueError: there is no seed, or there are more axes than one.

    >>> round(sample([1.0, 3.0]).sd ** 2, 9), round(sample([1.0, 3.0], Prior(1.0, 3)).sd ** 2, 9)  # (3 * 1 + 1 * 2) / 4
    (2.0, 1.25)
    """
    values = one_axis(values)
    n = len(values)
    if not n:
        raise ValueError("`values` must hold a number for at least one seed, got none")
    with np.errstate(invalid="ignore"):  # of infinite numbers
        squares = float(((values - values.mean()) ** 2).sum())
    prior_df = prior.df if prior else 0.0
    df = prior_df + n - 1
    total = squares + (prior.df * prior.sd**2 if prior else 0.0)
    return Sample(
        float(values.mean()), float(np.sqrt(total / df)) if df > 0 else float("nan"), n, df, prior is not None
    )


def constant(value: float) -> Sample:
    """Return a number without noise as a sample, such as the accuracy of a student that is not trained."""
    return Sample(float(value), 0.0, 1, float("inf"))


@dataclass(frozen=True)
class Difference:
    """The mean of one sample minus that of another, its standard error and the degrees of freedom of that."""

    value: float
    standard_error: float
    df: float

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the two-sided interval; nan if there is no standard error.

        Raises:
            ValueError: confidence is not between 0 and 1.
        """
        from scipy.stats import t  # half a second

        check_confidence(confidence)
        half = float(t.ppf((1 + confidence) / 2, self.df)) * self.standard_error
        return self.value - half, self.value + half

    def p_value(self) -> float:
        """Return the two-sided p-value of "no difference"."""
        return 2 * self._upper_tail(abs(self.value))

    def p_equivalent(self, margin: float) -> float:
        """Return the p-value of "further apart than the margin": the larger of two one-sided tests.

        Raises:
            ValueError: the margin is negative or nan.
        """
        if not margin >= 0.0:
            raise ValueError(f"`margin` must be at least 0, got {margin}: give the largest difference that is none")
        return self._upper_tail(margin - abs(self.value))

    def _upper_tail(self, distance: float) -> float:
        """The chance of a t above a distance; of 0 half, so that twice it is at most 1."""
        from scipy.stats import t  # half a second

        if np.isnan(distance):
            return float("nan")
        if self.standard_error == 0:
            return 0.0 if distance > 0 else 0.5 if distance == 0 else 1.0
        return float(t.sf(distance / self.standard_error, self.df))


def compare(ours: Sample, theirs: Sample) -> Difference:
    """Return the difference of two samples by Welch's test, unpaired.

    If a prior is part of an SD, the degrees of freedom are the smaller ones of the two samples: both may share the
    prior. Else they are Welch-Satterthwaite's.

    Returns:
        A standard error and degrees of freedom of nan if a sample has no SD.
    """
    variances = np.array([ours.variance, theirs.variance])
    df = np.array([ours.df, theirs.df])
    error = float(np.sqrt(variances.sum()))
    if ours.pooled or theirs.pooled or not error > 0:
        freedom = float(df.min())
    else:
        parts = variances / variances.max()  # else squares overflow or vanish
        freedom = float(parts.sum() ** 2 / (parts**2 / df).sum())
    return Difference(ours.mean - theirs.mean, error, freedom)
