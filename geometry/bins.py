"""Tokens by visual dependency: bins and quantiles of the VDS (arXiv:2606.00564, Section 3.2)."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from geometry._checks import same_length


def equal_frequency_bins(
    vds: Float[Tensor, " _T"], n_bins: int = 10, *, key: Shaped[Tensor, " _T"] | None = None
) -> Int[Tensor, " _T"]:
    """Assign each token to one of `n_bins` bins of equal frequency, 0 the least visual.

    Bin sizes differ by at most one, so tokens of equal VDS may be parted by an edge; `key` orders those.

    Args:
        vds: visual dependency of each token, in nats.
        n_bins: number of bins.
        key: a number a token, such as its running id. If no two tokens share both VDS and key, the bins do
            not depend on the order of the input; without a key, ties keep the order of the input.

    Raises:
        ValueError: `vds` holds a nan, `key` has another length, or `n_bins` is below 1.
    """
    if n_bins < 1:
        raise ValueError(f"`n_bins` must be at least 1, got {n_bins}.")
    _refuse_nan(vds)
    n_tokens = same_length(vds=vds) if key is None else same_length(vds=vds, key=key)
    order = torch.arange(n_tokens, device=vds.device) if key is None else key.argsort(stable=True)
    order = order[vds[order].argsort(stable=True)]
    bins = torch.empty_like(order)
    bins[order] = torch.arange(n_tokens, device=vds.device) * n_bins // max(n_tokens, 1)
    return bins


def bin_edges(vds: Float[Tensor, " _T"], bins: Int[Tensor, " _T"], n_bins: int = 10) -> Float[Tensor, " edges"]:
    """Return the `n_bins - 1` inner edges, in nats: the least VDS in each bin but the first.

    Tokens in no bin (-1) are left out; the edge below an empty bin is nan.

    Raises:
        ValueError: the lengths of `vds` and `bins` differ.
    """
    same_length(vds=vds, bins=bins)
    inside = bins > 0
    edges = vds.new_full((n_bins,), torch.inf)
    edges = edges.scatter_reduce(0, bins[inside].long(), vds[inside], "amin")
    counts = torch.bincount(bins[inside].long(), minlength=n_bins)
    return edges.masked_fill(counts == 0, torch.nan)[1:]


def vds_quantile(vds: Float[Tensor, " _T"], q: float) -> Float[Tensor, ""]:
    """Return the quantile Q_q of the VDS, in nats, interpolated linearly between tokens.

    The gates of arXiv:2606.00564, Eq. 16 and 24, compare with Q_0.7 and Q_0.4. Unlike `torch.quantile` the
    number of tokens is not limited.

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
    low, high = ordered[below], ordered[min(below + 1, len(vds) - 1)]
    return low if position == below else low + (position - below) * (high - low)


def _refuse_nan(vds: Tensor) -> None:
    n_nan = int(vds.isnan().sum())
    if n_nan:
        raise ValueError(f"`vds` must hold numbers, got {n_nan} nan of {len(vds)}. Check the scores of these tokens.")
