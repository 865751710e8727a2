"""Power against a simulation and known numbers; the smallest effect and the number of seeds against power."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_ind

from stats.planning import detectable, power, seeds_needed
from stats.welch import Difference, Sample, compare, constant


def sampled(sd, n):
    return Sample(0.0, sd, n, n - 1)


@pytest.mark.parametrize(("n", "effect"), [(3, 4.0), (8, 2.4), (20, 2.0)])
def test_power_is_what_a_simulation_gives(n, effect):
    draw = np.random.default_rng(n)
    ours, theirs = draw.normal(effect, 2.0, (4000, n)), draw.normal(0, 2.0, (4000, n))
    share = (ttest_ind(ours, theirs, axis=1).pvalue < 0.05).mean()
    planned = power(effect, Difference(0.0, 2.0 * (2 / n) ** 0.5, 2 * n - 2))
    assert planned == pytest.approx(share, abs=0.025)


def test_known_numbers_of_seeds():
    """Two-sample t tests in every textbook: an effect of one SD takes 17 in each group, of half an SD 64."""
    assert seeds_needed(1.0, sampled(1.0, 5), sampled(1.0, 3)) == 17
    assert seeds_needed(0.5, sampled(1.0, 5), sampled(1.0, 3)) == 64


def test_seeds_reach_the_power_and_one_fewer_does_not():
    n = int(seeds_needed(2.0, sampled(2.0, 3), sampled(4.6, 3)))
    enough, few = (power(2.0, compare(sampled(2.0, k), sampled(4.6, k))) for k in (n, n - 1))
    assert few < 0.8 <= enough


@pytest.mark.parametrize("df", [1.0, 2.1, 6.0, 40.0])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 3])
def test_the_smallest_effect_has_that_power(df, alpha):
    difference = Difference(0.3, 1.7, df)
    effect = detectable(difference, 0.8, alpha)
    assert power(effect, difference, alpha) == pytest.approx(0.8, abs=1e-4)


def test_power_at_its_ends():
    difference = Difference(1.0, 1.0, 5.0)
    assert power(0.0, difference) == pytest.approx(0.05)
    assert power(-2.0, difference) == pytest.approx(power(2.0, difference))
    assert power(1000.0, difference) == 1.0
    assert (power(1.0, Difference(0, 0.0, 3)), power(0.0, Difference(0, 0.0, 3))) == (1.0, 0.05)


def test_what_has_no_spread_has_no_power():
    nothing = Difference(1.0, math.nan, math.nan)
    assert math.isnan(power(1.0, nothing)) and math.isnan(detectable(nothing))
    assert math.isnan(seeds_needed(1.0, Sample(0.0, math.nan, 1, 0), sampled(1.0, 3)))
    assert detectable(Difference(1.0, 0.0, 3)) == 0.0


def test_a_constant_needs_no_seeds():
    assert seeds_needed(1.0, sampled(1.0, 4), constant(0.0)) == 10  # one group against a number: in every textbook


def test_an_effect_too_small_is_said_so():
    assert seeds_needed(1e-3, sampled(1.0, 3), sampled(1.0, 3)) == math.inf
    with pytest.raises(ValueError, match="`effect` must not be 0"):
        seeds_needed(0.0, sampled(1.0, 3), sampled(1.0, 3))
