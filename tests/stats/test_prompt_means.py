"""Student's t over prompts: a plain mean where every prompt has one token, and honest with few prompts."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from stats import bootstrap_interval, prompt_mean


def test_one_token_a_prompt_is_students_t():
    values = np.array([1.0, 2.0, 4.0, 5.0])
    result = prompt_mean(values, np.arange(4), confidence=0.9)
    error = values.std(ddof=1) / 2
    low, high = scipy_stats.t.interval(0.9, 3, loc=3.0, scale=error)
    assert (result.estimate, result.standard_error) == (3.0, pytest.approx(error))
    assert (result.low, result.high) == (pytest.approx(low), pytest.approx(high))


def test_by_hand():
    """Sums 2 and 6 of 2 and 2 tokens: mean 2, residuals -2 and 2, error sqrt(2 * 8) / 4 = 1."""
    result = prompt_mean([0.0, 2.0, 3.0, 3.0], list("aabb"))
    assert (result.estimate, result.standard_error) == (2.0, pytest.approx(1.0))
    assert result.high - result.estimate == pytest.approx(12.706, abs=1e-3)


@pytest.mark.parametrize(("values", "prompts", "estimate"), [([], [], np.nan), ([1.0, 3.0], ["a", "a"], 2.0)])
def test_too_few_have_no_bounds(values, prompts, estimate):
    result = prompt_mean(values, prompts)
    assert np.isnan(result.low) and np.isnan(result.high)
    assert result.estimate == pytest.approx(estimate, nan_ok=True)


def test_few_prompts_are_covered_as_often_as_said():
    """Normal values of three prompts: 95 % of the intervals hold the mean, and far fewer of a bootstrap's."""
    draw = np.random.default_rng(0)
    runs = [draw.normal(size=3) for _ in range(400)]
    ours = [prompt_mean(values, np.arange(3)) for values in runs]
    theirs = [bootstrap_interval(values, np.arange(3), n_resamples=200) for values in runs[:100]]
    covered, resampled = (np.mean([one.low < 0 < one.high for one in each]) for each in (ours, theirs))
    assert 0.92 < covered < 0.98 and resampled < 0.9
