"""How sure a mean over tokens is: intervals over prompts, and the pairs of the empirical null.

Tokens of one prompt are not independent, so prompts are what is resampled. The null asks which angle two
*unrelated* tokens show: the language gradient of one token against the visual gradient of another prompt's
token in the same bin. Only departures from it mean something.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.stats import bootstrap
from torch import Tensor

Array = np.ndarray | Tensor


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
    `statistic` of a one-dimensional array costs a Python call a resample.

    Args:
        values: a number a token; nan values (angles of a zero gradient) are dropped first.
        prompts: the prompt of each value: numbers or strings.

    Returns:
        Bounds of nan if fewer than two prompts are left, and an estimate of nan if no value is left.
    """
    values, prompts = np.asarray(values, dtype=float), np.asarray(prompts)
    kept = ~np.isnan(values)
    values, prompts = values[kept], prompts[kept]
    estimate = float(statistic(values)) if len(values) else np.nan
    _, member = np.unique(prompts, return_inverse=True)
    n_prompts = int(member.max()) + 1 if len(member) else 0
    if n_prompts < 2:
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
        values: one array a unit, such as its Gram matrix.
        prompts: the prompt of each unit.
        statistic: maps means `[B, ...]` to numbers `[B]`, such as the angle of a mean Gram matrix.

    Returns:
        Bounds of nan if there are fewer than two prompts.
    """
    estimate = float(statistic(values.mean(axis=0, keepdims=True))[0]) if len(values) else np.nan
    names, member = np.unique(np.asarray(prompts), return_inverse=True)
    if len(names) < 2:
        return Interval(np.nan, np.nan, estimate)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, member, values)
    counts = np.bincount(member)

    def of_mean(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        shares = np.apply_along_axis(np.bincount, -1, drawn, minlength=len(names))  # how often each prompt is drawn
        totals = (shares @ counts).reshape(-1, *[1] * (values.ndim - 1))
        found = statistic(np.tensordot(shares, sums, axes=1).reshape(-1, *values.shape[1:]) / totals)
        return found.reshape(drawn.shape[:-1])

    return _resample(of_mean, len(names), estimate, confidence, n_resamples, seed)


def _resample(
    resampled: Callable, n_prompts: int, estimate: float, confidence: float, n_resamples: int, seed: int
) -> Interval:
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


def chain_order(
    bins: Int[Array, " n"], prompts: Shaped[Array, " n"], generator: np.random.Generator
) -> Int[np.ndarray, "pairs 2"]:
    """Return pairs (i, j) of tokens of one bin and two prompts, as chains: each j is the next i if it can be.

    Each bin's tokens form a ring in random order, laid out so that neighbours differ in prompt. Where one
    prompt holds more than half of a bin some neighbours cannot; further rings, shuffled anew, then make up
    for the dropped pairs. A bin with tokens of two prompts or more has at least as many pairs as tokens,
    all distinct; a bin with one prompt has none. Tokens in no bin (-1) are left out.
    """
    bins, prompts = np.asarray(bins), np.asarray(prompts)
    pairs: list[tuple[int, int]] = []
    for b in np.unique(bins[bins >= 0]):
        pairs += _bin_pairs(np.flatnonzero(bins == b), prompts, generator)
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _ratio_of_sums(sums: Float[np.ndarray, " prompts"], counts: Int[np.ndarray, " prompts"]) -> Callable:
    def mean(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        return sums[drawn].sum(axis=axis) / counts[drawn].sum(axis=axis)

    return mean


def _pooled(statistic: Callable[[np.ndarray], float], by_prompt: list[np.ndarray]) -> Callable:
    def pooled(drawn: np.ndarray) -> float:
        return float(statistic(np.concatenate([by_prompt[prompt] for prompt in drawn])))

    return lambda drawn, axis=-1: np.apply_along_axis(pooled, axis, drawn)


def _bin_pairs(tokens: np.ndarray, prompts: np.ndarray, generator: np.random.Generator) -> list[tuple[int, int]]:
    if len(np.unique(prompts[tokens])) < 2:
        return []
    pairs: dict[tuple[int, int], None] = {}  # in order of insertion, without repeats
    while len(pairs) < len(tokens):
        ring = _ring(tokens, prompts, generator).tolist()
        for i, j in zip(ring, ring[1:] + ring[:1], strict=True):
            if prompts[i] != prompts[j]:
                pairs.setdefault((i, j))
    return list(pairs)


def _ring(tokens: np.ndarray, prompts: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Order tokens in a ring: prompt by prompt, the most frequent first, in places 0, 2, 4, ..., 1, 3, 5, ...

    If no prompt holds more than half of the tokens, no two neighbours, the ends included, are of the same
    prompt: a prompt that wraps from the even into the odd places would need more tokens than the first to
    meet itself.
    """
    shuffled = generator.permutation(tokens)
    _, member, counts = np.unique(prompts[shuffled], return_inverse=True, return_counts=True)
    tie_break = generator.permutation(len(counts))
    by_prompt = shuffled[np.lexsort((tie_break[member], -counts[member]))]
    ring = np.empty_like(by_prompt)
    n_even = (len(ring) + 1) // 2
    ring[0::2], ring[1::2] = by_prompt[:n_even], by_prompt[n_even:]
    return _stirred(ring, np.unique(prompts[ring], return_inverse=True)[1], generator)


def _stirred(ring: np.ndarray, members: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Swap places at random, never adding neighbours of one prompt: else two prompts would meet all along."""
    n = len(ring)
    order, member = list(range(n)), members.tolist()

    def clashes(*places: int) -> int:
        links = {(place + step) % n for place in places for step in (0, 1)}
        return sum(member[order[link - 1]] == member[order[link]] for link in links)

    for a, b in generator.integers(n, size=(10 * n, 2)).tolist():
        before = clashes(a, b)
        order[a], order[b] = order[b], order[a]
        if clashes(a, b) > before:
            order[a], order[b] = order[b], order[a]
    return ring[order]
