"""Tokens by visual dependency: bins and quantiles of the VDS (arXiv:2606.00564, Section 3.2)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry._checks import same_length
from geometry.divergence import at_least_float32


def equal_frequency_bins(vds: Float[Tensor, " _T"], n_bins: int = 10) -> Int[Tensor, " _T"]:
    """Assign each token to one of `n_bins` bins of equal frequency, 0 the least visual.

    Tokens of equal VDS share a bin, the lowest that their ranks reach: bins do not depend on the order of the input,
    and tokens that do not differ are not spread over bins. Sizes differ by at most one where no values are equal. Some
    bins stay empty where values are equal, or where there are fewer tokens than bins.

    Args:
        vds: visual dependency of each token, in nats.
        n_bins: number of bins.

    Raises:
        ValueError: `vds` holds a nan, or `n_bins` is below 1.
    """
    _refuse_too_few(n_bins)
    n_tokens = same_length(vds=vds)
    _refuse_nan(vds)
    ordered, order = vds.sort()
    ranks = torch.searchsorted(ordered, ordered)  # the number of tokens with a lower VDS
    bins = torch.empty_like(order)
    bins[order] = ranks * n_bins // max(n_tokens, 1)
    return bins


def bin_edges(vds: Float[Tensor, " _T"], bins: Int[Tensor, " _T"], n_bins: int = 10) -> Float[Tensor, " edges"]:
    """Return the `n_bins - 1` inner edges, in nats: the least VDS in each bin but the first.

    Tokens in no bin (-1) are left out; the edge below an empty bin is nan.

    Raises:
        ValueError: the lengths of `vds` and `bins` differ, a token in a bin has a VDS of nan, a bin is not one of -1 to
            `n_bins - 1`, or `n_bins` is below 1.
    """
    _refuse_too_few(n_bins)
    if same_length(vds=vds, bins=bins) and not -1 <= int(bins.min()) <= int(bins.max()) < n_bins:
        raise ValueError(
            f"`bins` must lie in -1..{n_bins - 1}, got {int(bins.min())}..{int(bins.max())}. Give the `n_bins` that "
            "they were made with."
        )
    _refuse_nan(vds[bins >= 0])
    inside = bins > 0
    edges = vds.new_full((n_bins,), torch.inf)
    edges = edges.scatter_reduce(0, bins[inside].long(), vds[inside], "amin")
    counts = torch.bincount(bins[inside].long(), minlength=n_bins)
    return edges.masked_fill(counts == 0, torch.nan)[1:]


def vds_quantile(vds: Float[Tensor, " _T"], q: float) -> Float[Tensor, ""]:
    """Return the quantile Q_q of the VDS, in nats, interpolated linearly between tokens, in float32 or better.

    The gates of arXiv:2606.00564, Eq. 16 and 24, compare with Q_0.7 and Q_0.4. Unlike `torch.quantile` the
    number of tokens is not limited. inf where the token above is infinite.

    Raises:
        ValueError: `q` is outside [0, 1], or `vds` is empty or holds a nan.
    """
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"`q` must lie in [0, 1], got {q}.")
    if same_length(vds=vds) == 0:
        raise ValueError("`vds` must hold at least one token, got none. Leave prompts without an image out earlier.")
    _refuse_nan(vds)
    position = q * (len(vds) - 1)
    below = int(position)
    ordered = vds.sort().values
    low, high = (at_least_float32(ordered[place]) for place in (below, min(below + 1, len(vds) - 1)))
    return torch.where(high == low, low, low + (position - below) * (high - low)) if position > below else low


def _refuse_too_few(n_bins: int) -> None:
    if n_bins < 1:
        raise ValueError(f"`n_bins` must be at least 1, got {n_bins}.")


def _refuse_nan(vds: Tensor) -> None:
    n_nan = int(vds.isnan().sum())
    if n_nan:
        raise ValueError(f"`vds` must hold numbers, got {n_nan} nan of {len(vds)}. Check the scores of these tokens.")
