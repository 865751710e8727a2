"""Norms, cosines, angles and eta of Gram matrices that are built from their answer."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geometry import OBJECTIVES, angles_deg, attached, cosines, eta, norms
from tests.geometry.problems import normal, shuffle


def plane_gram(angles: list[float], lengths: list[float]) -> Tensor:
    """Gram matrix of plane vectors with the given directions in degrees, and lengths.

    The angle between two of them is the difference of their directions, folded into 0..180.
    """
    theta = torch.tensor(angles, dtype=torch.float64).deg2rad()
    vectors = torch.stack([theta.cos(), theta.sin()], dim=-1) * torch.tensor(lengths).double().unsqueeze(-1)
    return vectors @ vectors.T


def test_angles_and_norms_come_back_as_set() -> None:
    directions, lengths = [0.0, 20.0, 92.0, 180.0, 359.0], [1.0, 1e-9, 3.0, 1e6, 0.5]
    gram = plane_gram(directions, lengths)
    expected = [[180 - abs(180 - abs(a - b)) for b in directions] for a in directions]
    torch.testing.assert_close(angles_deg(gram), torch.tensor(expected).double(), rtol=0, atol=2e-6)
    torch.testing.assert_close(norms(gram), torch.tensor(lengths).double())


def test_equals_the_twin_with_batch_axes() -> None:
    gradients = normal(2, 3, 5, 30)
    gram = gradients @ gradients.mT
    for b in torch.cartesian_prod(torch.arange(2), torch.arange(3)):
        for k in range(5):
            for other in range(5):
                g, h = gradients[(*b, k)].tolist(), gradients[(*b, other)].tolist()
                dot = math.fsum(x * y for x, y in zip(g, h, strict=True))
                cosine = dot / math.hypot(*g) / math.hypot(*h)
                degrees = math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
                assert cosines(gram)[(*b, k, other)].item() == pytest.approx(cosine, abs=1e-12)
                assert angles_deg(gram)[(*b, k, other)].item() == pytest.approx(degrees, abs=2e-6)
        assert norms(gram)[(*b, 0)].item() == pytest.approx(math.hypot(*gradients[(*b, 0)].tolist()))


@given(seed=st.integers(0, 1000), exponent=st.integers(-20, 20))
def test_angles_know_no_scale_and_permute_with_the_gradients(seed: int, exponent: int) -> None:
    gradients = normal(5, 30, seed=seed)
    order = shuffle(5, seed)
    scaled = gradients * 10.0 ** (exponent * normal(5, 1, seed=seed).sigmoid())
    angles = angles_deg(gradients @ gradients.T)
    torch.testing.assert_close(angles_deg(scaled @ scaled.T), angles, rtol=0, atol=1e-6)
    permuted = gradients[order]
    torch.testing.assert_close(angles_deg(permuted @ permuted.T), angles[order][:, order], rtol=0, atol=1e-6)


def test_zero_norm_gives_nan_not_90() -> None:
    angles = angles_deg(plane_gram([0, 30, 60, 90, 120], [1, 1, 0, 1, 1]))
    assert angles[2].isnan().all() and angles[:, 2].isnan().all()
    others = angles[[0, 1, 3, 4]][:, [0, 1, 3, 4]]
    assert not others.isnan().any()


def test_rounding_beyond_one_is_not_nan() -> None:
    gram = torch.tensor([[1.0, -1.0 - 1e-15], [-1.0 - 1e-15, 1.0]], dtype=torch.float64)
    assert angles_deg(gram).tolist() == [[0.0, 180.0], [180.0, 0.0]]


def test_near_zero_the_angle_is_good_to_a_millionth_of_a_degree() -> None:
    for degrees in (1e-4, 0.01, 179.99):
        assert angles_deg(plane_gram([0.0, degrees], [1.0, 7.0]))[0, 1].item() == pytest.approx(degrees, abs=1e-6)


def test_attached_is_the_gram_of_the_summed_gradients() -> None:
    gradients = normal(4, 5, 30)
    three = torch.stack([gradients[:, 0], gradients[:, 1], gradients[:, 2] + gradients[:, 4]], dim=1)
    torch.testing.assert_close(attached(gradients @ gradients.mT), three @ three.mT)


@pytest.mark.parametrize("steer", ["visual", "language"])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_eta_restores_the_standard_length(steer: str, gamma: float) -> None:
    gradients = normal(3, 5, 30)
    standard, steering = gradients[:, 0], gradients[:, OBJECTIVES.index(steer)]
    expected = standard.norm(dim=-1) / (standard + gamma * steering).norm(dim=-1)
    torch.testing.assert_close(eta(gradients @ gradients.mT, gamma, steer=steer), expected)


def test_eta_pinned_and_undefined() -> None:
    parallel = torch.ones(5, 5, dtype=torch.float64)  # five equal gradients: 1 / (1 + gamma)
    assert eta(parallel, 2.0).item() == pytest.approx(1 / 3)
    assert eta(torch.zeros(5, 5), 2.0).isnan()


def test_float32_grams_are_read_in_float64() -> None:
    gram = plane_gram([0, 30, 60, 90, 120], [1, 2, 3, 4, 5]).float()
    assert angles_deg(gram).dtype == norms(gram).dtype == attached(gram).dtype == torch.float64
