"""How sure a mean over tokens is where few prompts were measured: Student's t over prompts.

A percentile bootstrap of two or three prompts is too narrow: its bounds never leave their range. What decides about a
training run uses this interval.
"""

import numpy as np
from jaxtyping import Shaped

from stats._checks import check_confidence
from stats.bootstrap import Array, Interval


def prompt_mean(values: Shaped[Array, " n"], prompts: Shaped[Array, " n"], confidence: float = 0.95) -> Interval:
    """Return the mean of the values with its interval by Student's t, prompts being the independent units.

    The mean is a ratio of prompts' sums to their counts; its standard error follows from the residual of each prompt.

    Args:
        values: one number for each token.
        prompts: the prompt of each value: numbers or strings.

    Returns:
        Bounds of nan if there are fewer than two prompts, and an estimate of nan if there is no value.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    check_confidence(confidence)
    values = np.asarray(values, dtype=float)
    if not len(values):
        return Interval(np.nan, np.nan, np.nan)
    mean = float(values.mean())
    _, member = np.unique(np.asarray(prompts), return_inverse=True)
    counts = np.bincount(member)
    n_prompts = len(counts)
    if n_prompts < 2:
        return Interval(np.nan, np.nan, mean)
    from scipy.stats import t  # half a second

    residuals = np.bincount(member, values) - mean * counts
    error = float(np.sqrt(n_prompts / (n_prompts - 1) * (residuals @ residuals)) / counts.sum())
    half = float(t.ppf((1 + confidence) / 2, n_prompts - 1)) * error
    return Interval(mean - half, mean + half, mean, error)
