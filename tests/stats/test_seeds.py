"""Means over seeds, against scipy's own t interval and by hand."""

import math

import numpy as np
import pytest
from scipy.stats import sem, t

from stats.seeds import common_seeds, half_width, mean_over_seeds, standard_error


@pytest.mark.parametrize("n_seeds", [2, 3, 4, 10])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_is_scipys(n_seeds, confidence):
    values = np.random.default_rng(n_seeds).normal(3, 2, n_seeds)
    found = mean_over_seeds(values, confidence)
    expected = t.interval(confidence, n_seeds - 1, loc=values.mean(), scale=sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert (found.mean, found.n_seeds) == (values.mean(), n_seeds)
    assert (found.least, found.greatest) == (values.min(), values.max())


def test_two_seeds_by_hand():
    assert standard_error([1.0, 3.0]) == 1.0
    assert half_width([1.0, 3.0]) == pytest.approx(12.7062, abs=1e-4)


def test_the_interval_covers_as_often_as_it_says():
    draw = np.random.default_rng(0)
    intervals = [mean_over_seeds(draw.normal(size=3)) for _ in range(2000)]
    assert np.mean([one.low <= 0 <= one.high for one in intervals]) == pytest.approx(0.95, abs=0.015)


def test_one_seed_has_no_interval_and_none_no_mean():
    one = mean_over_seeds([2.0])
    assert (one.mean, one.least, one.greatest, one.n_seeds) == (2.0, 2.0, 2.0, 1)
    assert math.isnan(one.low) and math.isnan(one.high) and math.isnan(standard_error([2.0]))
    with pytest.raises(ValueError, match="at least one seed"):
        mean_over_seeds([])


def test_common_seeds_are_sorted_and_counted_once():
    assert common_seeds([3, 1, 1, 2], iter([2, 3, 4, 3])) == [2, 3]
    assert common_seeds([0], [1]) == []
