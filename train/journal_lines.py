"""The journal line of an update: means over all tokens, and over those of each VDS bin."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from geometry import bin_edges, equal_frequency_bins
from records.journal_lines import LOSSES, StepLine
from stats import N_BINS
from train.batch import Batch
from train.outcome import Outcome, Tokens

Edges = Sequence[float | None]


def step_line(step: int, batch: Batch, outcome: Outcome, seconds: Mapping[str, float], fixed: Edges | None) -> StepLine:
    """Return the line of an update.

    fixed: the inner edges of the bins of step 0; None in step 0 itself.
    """
    tokens = outcome.tokens
    own = [None] * (N_BINS - 1) if tokens is None else edges_of(tokens)
    fixed = own if fixed is None else fixed
    return StepLine(
        step=step,
        skipped=outcome.skipped,
        loss=outcome.loss,
        losses=dict.fromkeys(LOSSES) if tokens is None else means(tokens),
        losses_by_fixed_bin=binned(tokens, fixed),
        losses_by_step_bin=binned(tokens, own),
        edges_nats=own,
        tokens_by_fixed_bin=[0] * N_BINS if tokens is None else _counts(tokens, fixed).tolist(),
        response_tokens=float(batch.lengths.mean()),
        truncated_share=batch.truncated_share,
        reward=batch.reward,
        banned_mass=batch.banned_mass,
        entropy_nats=None if tokens is None else float(tokens.entropy.mean()),
        gradient_norm=outcome.gradient_norm,
        eta=outcome.eta,
        seconds={name: round(value, 4) for name, value in seconds.items()},
    )


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
    bins = _bins(tokens, edges)
    return {name: [_mean(getattr(tokens, name)[bins == number]) for number in range(N_BINS)] for name in LOSSES}


def _bins(tokens: Tokens, edges: Edges) -> Tensor:
    """Return the bin of each token, -1 without a picture; a bin includes its lower edge."""
    limits = torch.tensor([math.inf if edge is None else edge for edge in edges], dtype=torch.float64)
    bins = torch.bucketize(tokens.vds.double(), limits.to(tokens.vds.device), right=True)
    return bins.masked_fill(~tokens.has_image.bool(), -1)


def _counts(tokens: Tokens, edges: Edges) -> Tensor:
    bins = _bins(tokens, edges)
    return torch.bincount(bins[bins >= 0], minlength=N_BINS)


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if len(values) else None
