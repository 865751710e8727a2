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


def twin(vds: list[float], key: list[int], n_bins: int) -> list[int]:
    """Sort in Python and cut."""
    order = sorted(range(len(vds)), key=lambda t: (vds[t], key[t]))
    bins = [0] * len(vds)
    for rank, token in enumerate(order):
        bins[token] = math.floor(rank * n_bins / len(vds))
    return bins


@given(values=TIED, n_bins=st.integers(1, 12))
def test_equals_the_twin_in_sizes_that_differ_by_at_most_one(values: list[int], n_bins: int) -> None:
    vds, key = torch.tensor(values).double(), shuffle(len(values))
    bins = equal_frequency_bins(vds, n_bins, key=key)
    assert bins.tolist() == twin(vds.tolist(), key.tolist(), n_bins)
    sizes = torch.bincount(bins, minlength=n_bins)
    assert sizes.max() - sizes.min() <= 1 and bins.dtype == torch.int64


@given(values=TIED, seed=st.integers(0, 99))
def test_order_of_input_does_not_matter(values: list[int], seed: int) -> None:
    vds, key = torch.tensor(values).float(), torch.arange(len(values))
    order = shuffle(len(values), seed)
    assert torch.equal(equal_frequency_bins(vds[order], key=key[order]), equal_frequency_bins(vds, key=key)[order])


@given(values=TIED)
def test_bins_grow_with_vds(values: list[int]) -> None:
    vds = torch.tensor(values).double()
    bins = equal_frequency_bins(vds)
    assert (bins[vds.argsort(stable=True)].diff() >= 0).all()


def test_pinned_bins_with_ties_by_key_or_by_place() -> None:
    vds = torch.tensor([0.0, 3.0, 0.0, 1.0])
    assert equal_frequency_bins(vds, 4).tolist() == [0, 3, 1, 2]
    assert equal_frequency_bins(vds, 4, key=torch.tensor([9, 0, 2, 1])).tolist() == [1, 3, 0, 2]
    assert equal_frequency_bins(torch.zeros(0)).tolist() == []


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


def test_quantile_07_leaves_three_tenths_above() -> None:
    vds = normal(1000).exp()
    assert (vds > vds_quantile(vds, 0.7)).sum() == 300


def test_refusals() -> None:
    with pytest.raises(ValueError, match="`vds` must hold numbers, got 1 nan of 2"):
        equal_frequency_bins(torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match="`key` must have the shape of `vds`"):
        equal_frequency_bins(torch.zeros(3), key=torch.arange(2))
    with pytest.raises(ValueError, match="`n_bins` must be at least 1, got 0"):
        equal_frequency_bins(torch.zeros(3), 0)
    with pytest.raises(ValueError, match=r"`q` must lie in \[0, 1\], got 1.5"):
        vds_quantile(torch.zeros(3), 1.5)
    with pytest.raises(ValueError, match="`vds` must hold at least one token"):
        vds_quantile(torch.zeros(0), 0.5)
