"""Products of rows long enough to be cut into blocks, against float64."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from geometry.gramian.weight_gramians import _BLOCK, Factors, grams_of_rows, weight_gradients, weight_grams
from tests.geometry.problems import normal


@pytest.mark.parametrize("n", [3, _BLOCK, 2 * _BLOCK + 5, 1 << 21])
def test_products_of_long_rows_are_exact_in_float32(n: int) -> None:
    rows = normal(2, 4, n).float()
    exact = rows.double() @ rows.double().mT
    lengths = exact.diagonal(dim1=-2, dim2=-1).sqrt()
    wrong = (grams_of_rows(rows) - exact).abs() / (lengths[:, :, None] * lengths[:, None, :])
    assert wrong.max() < 5e-6  # one float32 sum over the longest is off by 1.7e-4
    metric = normal(n, seed=1).square()
    weighed = (rows.double() * metric.float().double()) @ rows.double().mT
    torch.testing.assert_close(grams_of_rows(rows, metric), weighed, rtol=1e-4, atol=1e-4 * n**0.5)


@pytest.mark.parametrize("places", [2, 300])
def test_either_way_of_a_large_weight_is_the_same(places: int) -> None:
    """Few positions take the products of inputs, many the gradients; both cross the block's length."""
    uses = [_use(rows, places, seed) for seed, rows in enumerate(((2, 3), (0, 1)))]
    gradients: Tensor = weight_gradients(uses)
    assert gradients.shape == (3, 4, 180 * 200)
    torch.testing.assert_close(weight_grams(uses), gradients @ gradients.mT, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("own_inputs", [False, True])
def test_gradients_of_a_few_units_at_a_time_are_the_same(monkeypatch, weighed: bool, own_inputs: bool) -> None:
    """Whether the units share their inputs or not."""
    metric = normal(180, 200, seed=9).square() if weighed else None
    uses = [_use(rows, 300, seed) for seed, rows in enumerate(((2, 3), (0, 1)))]
    if own_inputs:
        uses = [replace(use, inputs=normal(3, 300, 200, seed=7)) for use in uses]
    whole = weight_grams(uses, metric)
    formed: list[int] = []
    monkeypatch.setattr(
        "geometry.gramian.weight_gramians.weight_gradients", lambda uses: _noted(formed, weight_gradients(uses))
    )
    monkeypatch.setattr("geometry.gramian.weight_gramians.GRADIENT_BYTES", 2 * 4 * 8 * 180 * 200)
    torch.testing.assert_close(weight_grams(uses, metric), whole, rtol=1e-12, atol=1e-9)
    assert formed == [2, 1]


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("own_inputs", [False, True])
def test_gradients_of_a_few_rows_at_a_time_are_the_same(monkeypatch, weighed: bool, own_inputs: bool) -> None:
    """Of a tied weight: a head and a lookup."""
    metric = normal(180, 200, seed=9).square() if weighed else None
    ids = torch.arange(300) * 7 % 180
    uses = [_use((2, 3), 300, 0), Factors(_WEIGHT, (0, 1), ids, normal(3, 2, 300, 200, seed=3))]
    if own_inputs:
        uses[1] = replace(uses[1], inputs=torch.stack([ids, ids.flip(0), ids]))
    gradients = weight_gradients(uses)
    moved = gradients if metric is None else gradients * metric.flatten()
    sizes: list[int] = []
    monkeypatch.setattr(
        "geometry.gramian.weight_gramians.weight_gradients", lambda uses: _sized(sizes, weight_gradients(uses))
    )
    monkeypatch.setattr("geometry.gramian.weight_gramians._cost_of_gradients", lambda uses: 0)
    monkeypatch.setattr("geometry.gramian.weight_gramians.GRADIENT_BYTES", 4 * 8 * 200 * 70)
    torch.testing.assert_close(weight_grams(uses, metric), moved @ gradients.mT, rtol=1e-11, atol=1e-9)
    assert sizes == [70 * 200, 70 * 200, 40 * 200] * 3


def _sized(sizes: list[int], gradients: Tensor) -> Tensor:
    sizes.append(gradients.shape[-1])
    return gradients


def _noted(formed: list[int], gradients: Tensor) -> Tensor:
    formed.append(len(gradients))
    return gradients


def _use(rows: tuple[int, int], places: int, seed: int) -> Factors:
    weight = _WEIGHT
    return Factors(weight, rows, normal(places, 200, seed=seed), normal(3, 2, places, 180, seed=seed + 5))


_WEIGHT = nn.Parameter(normal(180, 200))
