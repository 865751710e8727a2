"""Welch's test against scipy's, with a prior by hand, and two one-sided tests."""

import math

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp, ttest_ind

from stats.welch import Difference, Prior, Sample, compare, constant, sample


def draws(n, n_other, seed=0):
    draw = np.random.default_rng(seed)
    return draw.normal(1, 1, n), draw.normal(0, 3, n_other)


@pytest.mark.parametrize(("n", "n_other"), [(2, 2), (3, 4), (8, 8), (20, 5)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_without_a_prior_it_is_scipys(n, n_other, confidence):
    ours, theirs = draws(n, n_other)
    twin = ttest_ind(ours, theirs, equal_var=False)
    found = compare(sample(ours), sample(theirs))
    assert found.p_value() == pytest.approx(twin.pvalue)
    assert found.df == pytest.approx(twin.df)
    assert found.interval(confidence) == pytest.approx(tuple(twin.confidence_interval(confidence)))


def test_against_a_constant_it_is_students():
    ours, _ = draws(5, 1)
    found = compare(sample(ours), constant(0.4))
    twin = ttest_1samp(ours, 0.4)
    assert found.p_value() == pytest.approx(twin.pvalue) and found.df == 4
    assert found.value == pytest.approx(ours.mean() - 0.4)


def test_a_prior_is_weighed_by_degrees_of_freedom():
    found = sample([1.0, 3.0, 5.0], Prior(sd=1.0, df=4))  # 4 times 1, and 2 times 4
    assert found.sd**2 == pytest.approx((4 * 1 + 2 * 4) / 6)
    assert (found.mean, found.n, found.df, found.pooled) == (3.0, 3, 6, True)


def test_a_shared_prior_counts_once():
    ours, theirs = sample([1.0, 3.0], Prior(1.0, 4)), sample([0.0, 1.0, 2.0, 3.0], Prior(1.0, 4))
    assert compare(ours, theirs).df == 5
    assert compare(ours, sample(np.arange(20.0))).df == 5


def test_one_seed_has_no_spread_of_its_own():
    alone = sample([2.0])
    assert math.isnan(alone.sd) and alone.df == 0
    assert math.isnan(compare(alone, sample([1.0, 2.0])).p_value())
    assert sample([2.0], Prior(1.5, 4)).sd == pytest.approx(1.5)
    with pytest.raises(ValueError, match="at least one seed"):
        sample([])


def test_seeds_that_agree_exactly():
    same = sample([1.0, 1.0, 1.0])
    apart, level = compare(sample([2.0, 2.0]), same), compare(same, same)
    assert (apart.p_value(), apart.interval(), apart.p_equivalent(2.0), apart.p_equivalent(0.5)) == (0, (1, 1), 0, 1)
    assert (level.p_value(), level.p_equivalent(0.1)) == (1, 0)


@pytest.mark.parametrize("value", [-1.5, 0.0, 0.3, 2.5])
def test_equivalence_is_the_larger_of_two_one_sided_tests(value):
    margin, error, df = 2.0, 0.7, 9.5
    one_sided = t.sf((value + margin) / error, df), t.cdf((value - margin) / error, df)
    found = Difference(value, error, df)
    assert found.p_equivalent(margin) == pytest.approx(max(one_sided))
    low, high = found.interval(0.9)
    assert (found.p_equivalent(margin) < 0.05) == (-margin < low and high < margin)


def test_a_constant_has_no_variance():
    assert constant(3.0).variance == 0 and Sample(0.0, 2.0, 4, 3).variance == 1.0
