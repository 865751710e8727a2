"""Wilson's interval against its definition, and what several seeds add to it."""

import numpy as np
import pytest

from stats import share_interval, wilson


@pytest.mark.parametrize(("share", "low", "high"), [(0.5, 0.40383, 0.59617), (0.0, 0.0, 0.03699), (1.0, 0.96301, 1.0)])
def test_wilson(share, low, high):
    np.testing.assert_allclose(wilson(share, 100), (low, high), atol=1e-5)


def test_wilsons_ends_are_the_shares_that_a_score_test_just_keeps():
    for n in (5, 40, 333.3):
        for share in np.linspace(0, 1, 7):
            for end in wilson(share, n):
                assert (share - end) ** 2 == pytest.approx(1.959964**2 * end * (1 - end) / n, abs=1e-12)


def answers(right):
    """Each answer and its scene, from a table of scenes by seeds."""
    table = np.array(right, dtype=bool)
    return table.ravel(), np.repeat([f"p{scene}" for scene in range(len(table))], table.shape[1])


def test_one_seed_is_wilsons_of_its_scenes():
    interval = share_interval(*answers([[1]] * 30 + [[0]] * 10))
    assert interval.estimate == 0.75
    np.testing.assert_allclose((interval.low, interval.high), wilson(0.75, 40))


def test_seeds_that_agree_add_nothing_and_those_that_do_not_do():
    one, same = share_interval(*answers([[1], [0]] * 20)), share_interval(*answers([[1, 1, 1], [0, 0, 0]] * 20))
    assert (one.low, one.high, one.estimate) == pytest.approx((same.low, same.high, same.estimate))
    other = share_interval(*answers([[1, 0], [0, 1], [1, 1], [0, 0]] * 10))
    assert other.estimate == 0.5 and other.high - other.low < one.high - one.low
    assert share_interval(*answers([[1]] * 40)).high == pytest.approx(1.0)


def test_the_order_of_answers_does_not_matter():
    right, scenes = answers([[1, 0, 1], [0, 0, 1], [1, 1, 1]])
    order = np.random.default_rng(0).permutation(len(right))
    assert share_interval(right[order], scenes[order]) == share_interval(right, scenes)
