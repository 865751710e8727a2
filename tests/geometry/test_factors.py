"""Products of rows long enough to be cut into blocks, against float64."""

import pytest
import torch
from torch import Tensor, nn

from geometry.factors import _BLOCK, Factors, grams_of_rows, weight_gradients, weight_grams
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


def _use(rows: tuple[int, int], places: int, seed: int) -> Factors:
    weight = _WEIGHT
    return Factors(weight, rows, normal(places, 200, seed=seed), normal(3, 2, places, 180, seed=seed + 5))


_WEIGHT = nn.Parameter(normal(180, 200))
