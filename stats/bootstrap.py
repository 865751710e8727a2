"""How sure a mean over tokens is: intervals over prompts.

Tokens of one prompt are not independent, so prompts are what is resampled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from stats._checks import check_confidence, check_resamples, names_of, one_axis

Array = Any
"""Whatever numpy reads: its own arrays, columns of a table, tensors on the CPU."""


@dataclass(frozen=True)
class Interval:
    """A statistic of the values with its confidence interval, in their unit."""

    low: float
    high: float
    estimate: float
    standard_error: float = np.nan


def bootstrap_interval(
    values: Shaped[Array, " n"],
    prompts: Shaped[Array, " n"],
    statistic: Callable[[np.ndarray], float] = np.mean,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of a statistic, resampling prompts with all their values.

    The mean is resampled as a ratio of per-prompt sums to counts, in one vectorised call; any other
    `statistic` of a one-dimensional array costs one Python call for each resample.

    Args:
        values: one number for each token; nan values (angles of a zero gradient) are dropped first.
        prompts: the prompt of each value: numbers or strings.
        confidence: of the interval, between 0 and 1.

    Returns:
        Bounds of nan if fewer than two prompts are left or a value is infinite, and an estimate of nan if no value is
        left.

    Raises:
        ValueError: confidence is not between 0 and 1, there are fewer than 2 resamples, or a value has no prompt.
    """
    check_confidence(confidence)
    check_resamples(n_resamples)
    values = one_axis(values)
    prompts = names_of(prompts, len(values), "prompts")
    kept = ~np.isnan(values)
    values, prompts = values[kept], prompts[kept]
    with np.errstate(invalid="ignore"):  # of infinite values
        estimate = float(statistic(values)) if len(values) else np.nan
    _, member = np.unique(prompts, return_inverse=True)
    n_prompts = int(member.max()) + 1 if len(member) else 0
    if n_prompts < 2 or not np.isfinite(values).all():
        return Interval(np.nan, np.nan, estimate)
    if statistic is np.mean:
        resampled = _ratio_of_sums(np.bincount(member, values), np.bincount(member))
    else:
        resampled = _pooled(statistic, [values[member == prompt] for prompt in range(n_prompts)])
    return _resample(resampled, n_prompts, estimate, confidence, n_resamples, seed)


def bootstrap_of_mean(
    values: Float[np.ndarray, "n ..."],
    prompts: Shaped[Array, " n"],
    statistic: Callable[[np.ndarray], np.ndarray],
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of a function of a mean, resampling prompts with all their values.

    Args:
        values: one array for each unit, such as its Gram matrix.
        prompts: the prompt of each unit.
        statistic: maps means `[B, ...]` to numbers `[B]`, such as the angle of a mean Gram matrix.

    Returns:
        Bounds of nan if there are fewer than two prompts, if the statistic of the mean is nan, or a value is not
        finite.

    Raises:
        ValueError: confidence is not between 0 and 1, there are fewer than 2 resamples, or a value has no prompt.
    """
    check_confidence(confidence)
    check_resamples(n_resamples)
    names, member = np.unique(names_of(prompts, len(values), "prompts"), return_inverse=True)
    with np.errstate(invalid="ignore"):  # of infinite values
        estimate = float(statistic(values.mean(axis=0, keepdims=True))[0]) if len(values) else np.nan
    if len(names) < 2 or np.isnan(estimate) or not np.isfinite(values).all():
        return Interval(np.nan, np.nan, estimate)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, member, values)
    counts = np.bincount(member)

    def of_mean(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        shares = np.apply_along_axis(np.bincount, -1, drawn, minlength=len(names))  # how often each prompt is drawn
        totals = (shares @ counts).reshape(-1, *[1] * (values.ndim - 1))
        resampled = statistic(np.tensordot(shares, sums, axes=1).reshape(-1, *values.shape[1:]) / totals)
        return resampled.reshape(drawn.shape[:-1])

    return _resample(of_mean, len(names), estimate, confidence, n_resamples, seed)


def _resample(
    resampled: Callable, n_prompts: int, estimate: float, confidence: float, n_resamples: int, seed: int
) -> Interval:
    from scipy.stats import bootstrap  # half a second

    result = bootstrap(
        (np.arange(n_prompts),),
        resampled,
        vectorized=True,
        confidence_level=confidence,
        n_resamples=n_resamples,
        batch=256,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    bounds = result.confidence_interval
    return Interval(float(bounds.low), float(bounds.high), estimate, float(result.standard_error))


def _ratio_of_sums(sums: Float[np.ndarray, " prompts"], counts: Int[np.ndarray, " prompts"]) -> Callable:
    def mean(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        return sums[drawn].sum(axis=axis) / counts[drawn].sum(axis=axis)

    return mean


def _pooled(statistic: Callable[[np.ndarray], float], by_prompt: list[np.ndarray]) -> Callable:
    def pooled(drawn: np.ndarray) -> float:
        return float(statistic(np.concatenate([by_prompt[prompt] for prompt in drawn])))

    return lambda drawn, axis=-1: np.apply_along_axis(pooled, axis, drawn)
