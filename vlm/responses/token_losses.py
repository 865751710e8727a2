"""The losses of response tokens, and their means: over all tokens, and over those of each VDS bin.

The bins are of equal frequency on the responses that the edges are taken from; a token without a picture is in none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from geometry import bin_edges, equal_frequency_bins
from stats import N_BINS

LOSSES: Final = ("standard", "language", "visual")

Edges = Sequence[float | None]
"""Inner edges of the bins, in nats; None for the edge below bins without a token at the upper end."""


@dataclass(frozen=True)
class Tokens:
    """Numbers of response tokens, `[T]`, in nats; without a graph."""

    standard: Tensor
    language: Tensor
    visual: Tensor
    vds: Tensor
    entropy: Tensor
    has_image: Tensor


def means(tokens: Tokens) -> dict[str, float | None]:
    """Return means over all tokens, in nats; of the visual loss over the tokens of prompts with a picture."""
    chosen = {"visual": tokens.has_image.bool()}
    everything = torch.ones_like(tokens.has_image, dtype=torch.bool)
    return {name: _mean(getattr(tokens, name)[chosen.get(name, everything)]) for name in LOSSES}


def edges_of(tokens: Tokens) -> list[float | None]:
    """Return the inner edges of ten equal-frequency bins, in nats; an empty bin has the edge of the one above it."""
    vds = tokens.vds[tokens.has_image.bool()]
    edges = bin_edges(vds, equal_frequency_bins(vds, N_BINS), N_BINS).double().cpu()
    edges = edges.nan_to_num(nan=math.inf).flip(0).cummin(0).values.flip(0)
    return [edge if math.isfinite(edge) else None for edge in edges.tolist()]


def binned(tokens: Tokens | None, edges: Edges) -> dict[str, list[float | None]]:
    """Return the mean of each loss in each bin, in nats; None for a bin without tokens."""
    if tokens is None:
        return {name: [None] * N_BINS for name in LOSSES}
    bins = bins_of(tokens, edges)
    return {name: [_mean(getattr(tokens, name)[bins == number]) for number in range(N_BINS)] for name in LOSSES}


def bins_of(tokens: Tokens, edges: Edges) -> Tensor:
    """Return the bin of each token, -1 without a picture; a bin includes its lower edge."""
    limits = torch.tensor([math.inf if edge is None else edge for edge in edges], dtype=torch.float64)
    bins = torch.bucketize(tokens.vds.double(), limits.to(tokens.vds.device), right=True)
    return bins.masked_fill(~tokens.has_image.bool(), -1)


def counts(tokens: Tokens, edges: Edges) -> list[int]:
    """Return the number of tokens in each bin."""
    bins = bins_of(tokens, edges)
    return torch.bincount(bins[bins >= 0], minlength=N_BINS).tolist()


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if len(values) else None
