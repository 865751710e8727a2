"""Norms, cosines, angles and eta of Gram matrices that are built from their answer."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometry import ANGLES, BASIS, NEAR_STANDARD_DEG, OBJECTIVES, STANDARD, VISUAL_ATTACHED, Gram, steered, total
from tests.geometry.problems import normal, shuffle

FIVE = ("a", "b", "c", "d", "e")


def plane_gram(angles: list[float], lengths: list[float]) -> Gram:
    """Gram matrix of plane vectors with the given directions in degrees, and lengths.

    The angle between two of them is the difference of their directions, folded into 0..180.
    """
    theta = np.radians(angles)
    vectors = np.stack([np.cos(theta), np.sin(theta)], axis=-1) * np.array(lengths)[:, None]
    return Gram(vectors @ vectors.T, FIVE[: len(angles)])


def basis_gradients(*batch: int, seed: int = 0) -> np.ndarray:
    """Draw the gradients of `BASIS`, `[*batch, 4, 30]`."""
    return normal(*batch, 4, 30, seed=seed).numpy()


def gram_of(gradients: np.ndarray) -> Gram:
    return Gram(gradients @ gradients.swapaxes(-1, -2))


def written_out(gradients: np.ndarray) -> dict[str, np.ndarray]:
    """Every named gradient as a vector, from those of the basis."""
    vectors = {name: gradients[..., k, :] for k, name in enumerate(BASIS)}
    vectors["standard"] = vectors["visual"] + vectors["prior"]
    vectors["visual_attached"] = vectors["visual"] + vectors["shift"]
    return vectors


def angle_of(one: np.ndarray, two: np.ndarray) -> float:
    dot = math.fsum(one * two)
    return math.degrees(math.acos(max(-1.0, min(1.0, dot / math.hypot(*one) / math.hypot(*two)))))


def test_angles_and_norms_come_back_as_set() -> None:
    directions, lengths = [0.0, 20.0, 92.0, 180.0, 359.0], [1.0, 1e-9, 3.0, 1e6, 0.5]
    gram = plane_gram(directions, lengths)
    for a, here, length in zip(FIVE, directions, lengths, strict=True):
        assert gram.norm(a) == pytest.approx(length)
        for b, there in zip(FIVE, directions, strict=True):
            assert gram.angle_deg(a, b) == pytest.approx(180 - abs(180 - abs(here - there)), abs=2e-6)


def test_every_named_gradient_is_that_of_the_vectors_with_batch_axes() -> None:
    gradients = basis_gradients(2, 3)
    gram, vectors = gram_of(gradients), written_out(gradients)
    assert set(vectors) == {*OBJECTIVES, "visual_attached"}
    for a, one in vectors.items():
        for place in np.ndindex(2, 3):
            assert gram.norm(a)[place] == pytest.approx(math.hypot(*one[place]))
        for b, two in vectors.items():
            np.testing.assert_allclose(gram.product(a, b), (one * two).sum(-1), rtol=1e-12, atol=1e-12)
            for place in np.ndindex(2, 3):
                assert gram.angle_deg(a, b)[place] == pytest.approx(angle_of(one[place], two[place]), abs=2e-6)


def test_tables_angles_are_named_for_what_they_lie_between() -> None:
    for name, (first, second) in ANGLES.items():
        attached = name.endswith("_attached")
        assert name == f"angle_{first}_{second.removesuffix('_attached')}" + ("_attached" if attached else "")


@given(
    seed=st.integers(0, 1000),
    gamma=st.floats(0, 5),
    lambda_=st.floats(0, 2),
    prior=st.sampled_from(["detached", "attached"]),
)
def test_the_steered_gradient_is_that_of_the_vectors(seed: int, gamma: float, lambda_: float, prior: str) -> None:
    gradients = np.concatenate([basis_gradients(seed=seed), normal(1, 30, seed=seed + 1).numpy()])
    gram = Gram(gradients @ gradients.T, (*BASIS, "gated_language"))
    vectors = written_out(gradients) | {"gated_language": gradients[4]}
    visual = vectors["visual" if prior == "detached" else "visual_attached"]
    expected = vectors["standard"] + gamma * visual + lambda_ * gradients[4]
    toward = steered(gamma, lambda_, prior=prior)
    np.testing.assert_allclose(gram.norm(toward), np.linalg.norm(expected))
    np.testing.assert_allclose(gram.product(toward, "language"), expected @ vectors["language"], atol=1e-9)


@given(seed=st.integers(0, 1000), exponent=st.integers(-20, 20))
def test_angles_know_no_scale_and_permute_with_the_gradients(seed: int, exponent: int) -> None:
    gradients, order = normal(5, 30, seed=seed).numpy(), shuffle(5, seed).numpy()
    scales = 10.0 ** (exponent * normal(5, 1, seed=seed).sigmoid().numpy())
    gram = Gram(gradients @ gradients.T, FIVE)
    scaled = Gram((scales * gradients) @ (scales * gradients).T, FIVE)
    permuted = Gram(gradients[order] @ gradients[order].T, [FIVE[place] for place in order])
    for a in FIVE:
        for b in FIVE:
            for other in (scaled, permuted):
                assert other.angle_deg(a, b) == pytest.approx(float(gram.angle_deg(a, b)), abs=1e-6)


def test_zero_norm_gives_nan_not_90() -> None:
    gram = plane_gram([0, 30, 60, 90, 120], [1, 1, 0, 1, 1])
    assert all(np.isnan(gram.angle_deg("c", name)) and np.isnan(gram.cosine(name, "c")) for name in FIVE)
    assert not any(np.isnan(gram.angle_deg(a, b)) for a in "abde" for b in "abde")


def test_a_sum_that_cancels_to_rounding_has_no_length_and_one_that_is_zero_has_length_zero() -> None:
    visual = normal(30).numpy()
    exact = gram_of(np.stack([visual, -visual, visual, visual]))
    assert exact.norm("standard") == 0.0 and np.isnan(exact.angle_deg("standard", "language"))
    rounded = gram_of(np.stack([visual, -visual * (1 + 1e-9), visual, visual]))
    assert not rounded.norm("standard") > 0 and np.isnan(rounded.angle_deg("standard", "language"))
    resolved = gram_of(np.stack([visual, -visual * (1 + 1e-4), visual, visual]))
    np.testing.assert_allclose(resolved.norm("standard"), 1e-4 * np.linalg.norm(visual), rtol=1e-6)
    assert np.isnan(Gram(resolved.values, resolution=1e-7).norm("standard"))


def test_rounding_beyond_one_is_not_nan() -> None:
    gram = Gram([[1.0, -1.0 - 1e-15], [-1.0 - 1e-15, 1.0]], ("a", "b"))
    assert [gram.angle_deg(a, b) for a in "ab" for b in "ab"] == [0.0, 180.0, 180.0, 0.0]


def test_near_zero_the_angle_is_good_to_a_millionth_of_a_degree() -> None:
    for degrees in (1e-4, 0.01, 179.99):
        assert plane_gram([0.0, degrees], [1.0, 7.0]).angle_deg("a", "b") == pytest.approx(degrees, abs=1e-6)


@pytest.mark.parametrize("steer", ["visual", "language"])
@pytest.mark.parametrize("prior", ["detached", "attached"])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_eta_restores_the_standard_length(steer: str, gamma: float, prior: str) -> None:
    gradients = basis_gradients(3)
    vectors = written_out(gradients)
    steering = vectors["visual_attached" if (steer, prior) == ("visual", "attached") else steer]
    lengths = [np.linalg.norm(g, axis=-1) for g in (vectors["standard"], vectors["standard"] + gamma * steering)]
    np.testing.assert_allclose(gram_of(gradients).eta(gamma, steer=steer, prior=prior), lengths[0] / lengths[1])


def test_eta_pinned_and_undefined() -> None:
    parallel = Gram([[1.0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])  # standard = visual: 1 / (1 + gamma)
    assert parallel.eta(2.0) == pytest.approx(1 / 3)
    assert np.isnan(Gram(np.zeros((4, 4))).eta(2.0))


@pytest.mark.parametrize("prior", ["detached", "attached"])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_the_angle_to_the_steered_gradient_is_that_of_the_vectors(gamma: float, prior: str) -> None:
    gradients = basis_gradients(3)
    vectors = written_out(gradients)
    toward = vectors["standard"] + gamma * vectors["visual" if prior == "detached" else "visual_attached"]
    expected = [angle_of(one, two) for one, two in zip(vectors["standard"], toward, strict=True)]
    np.testing.assert_allclose(gram_of(gradients).angle_to_steered_deg(gamma, prior=prior), expected, atol=2e-6)


@pytest.mark.parametrize("zero", ["prior", "visual"])
@pytest.mark.parametrize("gamma", [0.0, 2.0, 100.0])
def test_without_a_language_gap_or_without_a_visual_gradient_steering_keeps_the_direction(zero, gamma) -> None:
    gradients = basis_gradients(3)
    gradients[:, BASIS.index(zero)] = 0.0
    np.testing.assert_allclose(gram_of(gradients).angle_to_steered_deg(gamma), 0.0, atol=2e-6)


def test_the_angle_to_the_steered_gradient_pinned() -> None:
    right_angle = np.diag([1.0, 1.0, 0.0, 0.0])  # visual and prior of length 1: standard lies between them
    assert Gram(right_angle).angle_to_steered_deg(2.0) == pytest.approx(45.0 - math.degrees(math.atan(1 / 3)))
    assert np.isnan(Gram(np.zeros((4, 4))).angle_to_steered_deg(2.0))


def test_steps_of_one_length_that_stand_ten_degrees_apart_differ_by_a_sixth() -> None:
    gram = plane_gram([0.0, NEAR_STANDARD_DEG], [1.0, 1.0])
    assert (
        gram.norm({"a": 1.0, "b": -1.0})
        == pytest.approx(2 * math.sin(math.radians(5.0)))
        == pytest.approx(0.1743, abs=1e-4)
    )


def test_it_adds_up_over_parameter_groups_and_is_read_in_float64() -> None:
    parts = {name: gram_of(basis_gradients(2, seed=seed).astype("float32")) for name, seed in (("x", 1), ("y", 2))}
    assert parts["x"].values.dtype == np.float64
    for names in (None, ["y"], ["x", "y"]):
        expected = sum(parts[name].values for name in names or parts)
        np.testing.assert_array_equal(total(parts, names).values, expected)
    assert total(parts)[1].norm("visual") == total(parts).norm("visual")[1] and len(total(parts)) == 2


def test_a_combination_can_be_named_or_written_out() -> None:
    gram = gram_of(basis_gradients())
    assert gram.norm(STANDARD) == gram.norm("standard") == gram.norm({"standard": 1.0})
    assert gram.angle_deg(VISUAL_ATTACHED, "prior") == gram.angle_deg("visual_attached", "prior")


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"`values` must be `\[..., 4, 4\]`, .* got \(5, 5\)"):
        Gram(np.eye(5))
    with pytest.raises(ValueError, match="a gradient must be one of visual, .*, got 'gated_language'"):
        Gram(np.eye(4)).norm(steered(1.0, 0.1))
    with pytest.raises(ValueError, match="`names` must be the same"):
        Gram(np.eye(4)) + Gram(np.eye(2), ("a", "b"))
    with pytest.raises(ValueError, match=r"`names` must be groups among \['a'\], got \[\]"):
        total({"a": Gram(np.eye(4))}, [])


def test_it_needs_no_torch() -> None:
    code = "import sys, geometry.gram; from geometry import Gram; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
