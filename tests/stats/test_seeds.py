"""Ratios of the spread over seeds: by hand, and how often the interval covers."""

import math

import numpy as np
import pytest

from stats.seeds import ratio_of_sds


def test_arms_are_pooled_by_degrees_of_freedom():
    ours = [np.array([0.0, 2.0]), np.array([5.0, 6.0, 7.0])]  # sums of squares 2 and 2, 3 degrees of freedom
    found = ratio_of_sds(ours, [np.array([1.0, 2.0, 3.0])])
    assert found.estimate == pytest.approx((4 / 3) ** 0.5)


def test_the_interval_covers_as_often_as_it_says():
    draw = np.random.default_rng(0)
    found = [
        ratio_of_sds([draw.normal(0, 3, 4), draw.normal(9, 3, 3)], [draw.normal(0, 2, 4)] * 1) for _ in range(1000)
    ]
    assert np.mean([one.low <= 1.5 <= one.high for one in found]) == pytest.approx(0.95, abs=0.02)


def test_single_seeds_have_no_spread():
    found = ratio_of_sds([np.array([1.0]), np.array([2.0])], [np.array([1.0, 2.0])])
    assert math.isnan(found.estimate) and math.isnan(found.low)
