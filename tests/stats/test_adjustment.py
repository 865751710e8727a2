"""Holm's adjustment by hand, and against the definition by all intersections."""

import itertools
import math

import numpy as np
import pytest

from stats.adjustment import holm


def test_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6, 0.02]) == pytest.approx([1.0, 1.0, 0.06])


@pytest.mark.parametrize("seed", range(5))
def test_a_test_is_rejected_if_bonferroni_rejects_every_intersection_with_it(seed):
    p_values = np.random.default_rng(seed).uniform(0, 0.2, 4)
    closed = [
        max(
            min(1.0, len(family) * p_values[list(family)].min())
            for size in range(1, 5)
            for family in itertools.combinations(range(4), size)
            if test in family
        )
        for test in range(4)
    ]
    assert holm(p_values) == pytest.approx(closed)


def test_tests_that_were_not_made_count_as_one():
    assert holm([0.01], 3) == pytest.approx([0.03])
    assert holm([0.01, 0.02], 3) == pytest.approx([0.03, 0.04])
    first, missing, last = holm([0.02, math.nan, 0.01])
    assert (first, last) == pytest.approx((0.04, 0.03)) and math.isnan(missing)


def test_a_family_holds_its_tests():
    with pytest.raises(ValueError, match="`n_tests` must be at least the number of p-values, 2, got 1"):
        holm([0.1, 0.2], 1)
