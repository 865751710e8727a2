"""The gamma at half of the angle: the closed form against bisection."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometry import Gram, halfway_gamma

NAMES = ("standard", "visual")


def plane(angle_deg: float, standard: float, visual: float) -> Gram:
    """Two gradients of set lengths at a set angle."""
    across = standard * visual * math.cos(math.radians(angle_deg))
    return Gram([[standard**2, across], [across, visual**2]], NAMES)


def angle(gram: Gram, gamma: float) -> float:
    return float(gram.angle_deg("standard", {"standard": 1.0, "visual": gamma}))


def bisected(gram: Gram) -> float:
    """The gamma at which the angle has half of what it tends to, between two powers of ten."""
    wanted = float(gram.angle_deg("standard", "visual")) / 2
    low, high = -6.0, 6.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if angle(gram, 10.0**middle) < wanted else (low, middle)
    return 10.0**high


lengths = st.floats(0.03, 30.0)


@given(angle_deg=st.floats(2.0, 170.0), standard=lengths, visual=lengths)
def test_is_where_bisection_ends(angle_deg: float, standard: float, visual: float) -> None:
    gram = plane(angle_deg, standard, visual)
    gamma = halfway_gamma(gram)
    assert gamma == pytest.approx(bisected(gram), rel=1e-5)
    assert angle(gram, gamma) == pytest.approx(angle_deg / 2, abs=1e-4)
    assert angle(gram, 0.99 * gamma) < angle_deg / 2 < angle(gram, 1.01 * gamma)


@given(seed=st.integers(0, 1000), width=st.integers(2, 9))
def test_of_random_gradients(seed: int, width: int) -> None:
    """Of the four that are measured, in as many dimensions."""
    drawn = np.random.default_rng(seed).normal(size=(4, width))
    gram = Gram(drawn @ drawn.T)
    if 1.0 < float(gram.angle_deg("standard", "visual")) < 175.0:
        assert halfway_gamma(gram) == pytest.approx(bisected(gram), rel=1e-4)


def test_is_at_most_what_is_allowed() -> None:
    gram = plane(60.0, 3.0, 0.5)
    assert (halfway_gamma(gram), halfway_gamma(gram, 4.0)) == (6.0, 4.0)


def test_without_one_of_the_gradients_nothing_is_steered() -> None:
    assert halfway_gamma(plane(60.0, 3.0, 0.0), 4.0) == halfway_gamma(plane(60.0, 0.0, 3.0), 4.0) == 0.0


@pytest.mark.parametrize("values", [[[np.nan, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, np.inf]]])
def test_a_gradient_without_a_length_is_refused(values: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="`gram` must have gradients of known, finite lengths"):
        halfway_gamma(Gram(values, NAMES))
