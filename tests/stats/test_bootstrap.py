"""Bootstrap intervals over prompts, and the chains of the empirical null."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stats.bootstrap import bootstrap_interval, bootstrap_of_mean
from stats.pairs import chain_order


def clustered(seed: int, n_prompts: int = 12, size: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Values of mean 0 whose prompts differ by more than their tokens do."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, size, n_prompts)
    prompts = np.repeat(np.arange(n_prompts), sizes)
    return rng.normal(size=n_prompts)[prompts] + 0.3 * rng.normal(size=len(prompts)), prompts


def plain_interval(values: np.ndarray, prompts: np.ndarray, n: int, seed: int) -> tuple[float, float]:
    """Draw prompts, pool their values, take the mean; again and again."""
    rng, names = np.random.default_rng(seed), np.unique(prompts)
    pools = {name: values[prompts == name] for name in names}
    draws = (rng.choice(names, len(names)) for _ in range(n))
    means = [np.concatenate([pools[name] for name in drawn]).mean() for drawn in draws]
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def test_equals_a_plain_bootstrap_over_prompts() -> None:
    values, prompts = clustered(0)
    interval = bootstrap_interval(values, prompts, n_resamples=20_000)
    low, high = plain_interval(values, prompts, 20_000, seed=1)
    assert interval.estimate == pytest.approx(values.mean())
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.02)
    assert interval.low < interval.estimate < interval.high


def test_other_statistics_see_the_same_resamples() -> None:
    values, prompts = clustered(0)
    mean = bootstrap_interval(values, prompts, n_resamples=300)
    slow = bootstrap_interval(values, prompts, lambda x: float(x.mean()), n_resamples=300)
    assert (slow.low, slow.high, slow.estimate) == pytest.approx((mean.low, mean.high, mean.estimate))
    median = bootstrap_interval(values, prompts, np.median, n_resamples=300)
    assert median.estimate == np.median(values) and median.low <= median.estimate <= median.high


def test_coverage_is_near_nominal_and_that_of_tokens_is_not() -> None:
    def covers(by_prompt: bool, seed: int) -> bool:
        values, prompts = clustered(seed, n_prompts=25)
        clusters = prompts if by_prompt else np.arange(len(values))
        interval = bootstrap_interval(values, clusters, n_resamples=400, seed=seed)
        return interval.low <= 0 <= interval.high

    assert 0.85 <= np.mean([covers(True, seed) for seed in range(200)]) <= 0.99
    assert np.mean([covers(False, seed) for seed in range(200)]) < 0.80


def test_nan_values_are_dropped_and_prompts_may_be_strings_or_tensors() -> None:
    values, prompts = clustered(0)
    with_nan, more = np.append(values, [math.nan, math.nan]), np.append(prompts, [0, 99])
    expected = bootstrap_interval(values, prompts)
    assert bootstrap_interval(with_nan, more) == expected
    assert bootstrap_interval(torch.from_numpy(values), torch.from_numpy(prompts)) == expected
    assert bootstrap_interval(values, np.array([f"prompt-{p:02d}" for p in prompts])) == expected
    assert bootstrap_interval(values, prompts, seed=1) != expected


def test_fewer_than_two_prompts_have_no_interval() -> None:
    one = bootstrap_interval(np.array([1.0, 3.0]), np.array([7, 7]))
    assert one.estimate == 2.0 and math.isnan(one.low) and math.isnan(one.high)
    none = bootstrap_interval(np.array([math.nan]), np.array([7]))
    assert math.isnan(none.estimate) and math.isnan(none.low)


def test_equal_values_have_an_interval_of_width_zero() -> None:
    interval = bootstrap_interval(np.full(6, 90.0), np.arange(6))
    assert (interval.low, interval.estimate, interval.high) == (90.0, 90.0, 90.0)


PROMPTS = st.lists(st.integers(0, 5), min_size=1, max_size=40)


@given(prompts=PROMPTS, n_bins=st.integers(1, 3), seed=st.integers(0, 99))
def test_pairs_join_different_prompts_of_one_bin(prompts: list[int], n_bins: int, seed: int) -> None:
    names, bins = np.array(prompts), np.arange(len(prompts)) % n_bins - (seed % 2)
    pairs = chain_order(bins, names, np.random.default_rng(seed))
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    for b in np.unique(bins):
        tokens = np.flatnonzero(bins == b)
        inside = pairs[np.isin(pairs[:, 0], tokens)]
        if b < 0 or len(set(names[tokens])) < 2:
            assert len(inside) == 0
            continue
        assert len(inside) >= len(tokens)
        assert np.isin(inside[:, 1], tokens).all()
        assert (names[inside[:, 0]] != names[inside[:, 1]]).all()


@given(prompts=PROMPTS, seed=st.integers(0, 99))
def test_a_bin_without_a_majority_is_one_ring(prompts: list[int], seed: int) -> None:
    names = np.array(prompts)
    pairs = chain_order(np.zeros(len(names), dtype=int), names, np.random.default_rng(seed))
    if 2 * np.bincount(names).max() > len(names):
        return
    assert len(pairs) == len(names)
    assert sorted(pairs[:, 0]) == sorted(pairs[:, 1]) == list(range(len(names)))
    assert all(j == i for (_, j), (i, _) in pairwise(pairs.tolist())) and pairs[-1, 1] == pairs[0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_are_mixed(seed: int) -> None:
    """Six prompts of ten tokens: most of the thirty ordered pairs of prompts meet."""
    names = np.repeat(np.arange(6), 10)
    pairs = names[chain_order(np.zeros(60, dtype=int), names, np.random.default_rng(seed))]
    assert len(np.unique(pairs, axis=0)) >= 20


def test_chain_is_seeded() -> None:
    bins, names = np.zeros(30, dtype=int), np.arange(30) // 3
    first, again, other = (chain_order(bins, names, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_function_of_a_mean_equals_a_plain_bootstrap() -> None:
    """The ratio of two means, over prompts drawn by the same generator."""
    generator = np.random.default_rng(4)
    values, prompts = generator.normal(3.0, 1.0, (40, 2)), generator.integers(0, 9, 40)
    found = bootstrap_of_mean(values, prompts, lambda means: means[:, 0] / means[:, 1], n_resamples=4000)
    assert found.estimate == pytest.approx(values[:, 0].mean() / values[:, 1].mean())
    by_prompt = [values[prompts == prompt] for prompt in np.unique(prompts)]
    drawn = generator.integers(0, len(by_prompt), (4000, len(by_prompt)))
    ratios = [(m := np.concatenate([by_prompt[p] for p in row]).mean(0))[0] / m[1] for row in drawn]
    assert found.low == pytest.approx(np.quantile(ratios, 0.025), abs=0.01)
    assert found.high == pytest.approx(np.quantile(ratios, 0.975), abs=0.01)
    assert found.standard_error == pytest.approx(np.std(ratios), rel=0.1)


def test_one_prompt_has_no_interval_of_a_mean() -> None:
    found = bootstrap_of_mean(np.ones((3, 2)), np.zeros(3), lambda means: means[:, 0])
    assert found.estimate == 1 and np.isnan(found.low) and np.isnan(found.standard_error)


def test_a_mean_without_a_value_has_no_interval():
    """As the angle of a gradient that is 0 everywhere: nothing is resampled, and nothing is warned of."""
    interval = bootstrap_of_mean(np.ones((3, 2)), np.arange(3), lambda means: np.full(len(means), np.nan))
    assert np.isnan([interval.estimate, interval.low, interval.high]).all()
