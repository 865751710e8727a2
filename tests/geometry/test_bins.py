"""Equal-frequency bins, their edges, and quantiles."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geometry import bin_edges, equal_frequency_bins, vds_quantile
from tests.geometry.problems import normal, shuffle

TIED = st.lists(st.integers(0, 6), min_size=1, max_size=60)  # VDS in few distinct values


def twin(vds: list[float], n_bins: int) -> list[int]:
    """Count in Python the tokens below each token, and cut."""
    return [sum(other < own for other in vds) * n_bins // len(vds) for own in vds]


@given(values=TIED, n_bins=st.integers(1, 12))
def test_equals_the_twin(values: list[int], n_bins: int) -> None:
    bins = equal_frequency_bins(torch.tensor(values).double(), n_bins)
    assert bins.tolist() == twin(values, n_bins) and bins.dtype == torch.int64


@given(n_tokens=st.integers(1, 60), n_bins=st.integers(1, 12))
def test_sizes_differ_by_at_most_one_where_no_values_are_equal(n_tokens: int, n_bins: int) -> None:
    sizes = torch.bincount(equal_frequency_bins(shuffle(n_tokens).double(), n_bins), minlength=n_bins)
    assert sizes.max() - sizes.min() <= 1


@given(values=TIED, seed=st.integers(0, 99))
def test_order_of_input_does_not_matter(values: list[int], seed: int) -> None:
    vds, order = torch.tensor(values).float(), shuffle(len(values), seed)
    assert torch.equal(equal_frequency_bins(vds[order]), equal_frequency_bins(vds)[order])


@given(values=TIED)
def test_bins_grow_with_vds(values: list[int]) -> None:
    vds = torch.tensor(values).double()
    bins = equal_frequency_bins(vds)
    assert (bins[vds.argsort(stable=True)].diff() >= 0).all()


def test_pinned_bins_with_ties() -> None:
    assert equal_frequency_bins(torch.tensor([0.0, 3.0, 0.0, 1.0]), 4).tolist() == [0, 3, 0, 2]
    assert equal_frequency_bins(torch.zeros(0)).tolist() == []


@pytest.mark.parametrize("vds", [0.0, 1e-38, 2.0, math.inf])
def test_tokens_that_do_not_differ_are_not_spread_over_bins(vds: float) -> None:
    """As those of a teacher that does not see: no bin of them is more visual than another."""
    assert equal_frequency_bins(torch.full((40,), vds)).unique().tolist() == [0]


def test_with_fewer_tokens_than_bins_some_are_empty() -> None:
    assert equal_frequency_bins(torch.tensor([3.0, 1.0, 2.0]), 10).tolist() == [6, 0, 3]


def test_edges_part_the_bins() -> None:
    vds = normal(97).exp()
    bins = equal_frequency_bins(vds)
    edges = bin_edges(vds, bins)
    assert edges.shape == (9,) and (edges.diff() > 0).all()
    assert torch.equal(torch.bucketize(vds, edges, right=True), bins)


def test_edges_leave_out_tokens_in_no_bin_and_mark_empty_bins() -> None:
    vds, bins = torch.tensor([5.0, 1.0, 2.0, 9.0, 0.0]), torch.tensor([1, 0, 1, 3, -1])
    edges = bin_edges(vds, bins, 4)
    assert edges[[0, 2]].tolist() == [2.0, 9.0] and edges[1].isnan()


@given(values=st.lists(st.floats(0, 10), min_size=1, max_size=40), q=st.floats(0, 1))
def test_quantile_equals_numpy(values: list[float], q: float) -> None:
    ours = vds_quantile(torch.tensor(values, dtype=torch.float64), q).item()
    assert ours == pytest.approx(np.quantile(values, q), rel=1e-12, abs=1e-12)


def test_a_quantile_of_half_precision_is_interpolated_in_float32() -> None:
    """Numbers of bfloat16 near 1e4 are 64 apart: a rounded quantile would be the largest, and no gate would open."""
    vds = torch.tensor([9984.0, 10048.0]).bfloat16()
    assert float(vds_quantile(vds, 0.7)) == pytest.approx(10028.8)


def test_a_quantile_among_infinite_values_is_infinite() -> None:
    assert vds_quantile(torch.tensor([1.0, math.inf, math.inf]), 0.7) == math.inf
    assert vds_quantile(torch.tensor([1.0, 2.0, math.inf]), 0.5) == 2.0


def test_quantile_07_leaves_three_tenths_above() -> None:
    vds = normal(1000).exp()
    assert (vds > vds_quantile(vds, 0.7)).sum() == 300


def test_refusals() -> None:
    with pytest.raises(ValueError, match="`vds` must hold numbers, got 1 nan of 2"):
        equal_frequency_bins(torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match=r"`bins` must lie in -1..9, got 1..12"):
        bin_edges(torch.zeros(2), torch.tensor([1, 12]))
    with pytest.raises(ValueError, match="`vds` must hold numbers, got 1 nan of 2"):
        bin_edges(torch.tensor([0.0, math.nan]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="`n_bins` must be at least 1, got 0"):
        equal_frequency_bins(torch.zeros(3), 0)
    with pytest.raises(ValueError, match=r"`q` must lie in \[0, 1\], got 1.5"):
        vds_quantile(torch.zeros(3), 1.5)
    with pytest.raises(ValueError, match="`vds` must hold at least one token"):
        vds_quantile(torch.zeros(0), 0.5)
