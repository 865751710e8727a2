"""The loss of a batch under an objective (arXiv:2606.00564, Eq. 1-25): its tokens' divergences, weighed and shared out.

    loss = sum_t share_t sum_k coefficient_k,t divergence_k,t

Coefficients come from `objectives`, shares from `token_shares`. `chunked_loss` computes the loss, from logits or from
hidden states.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from geometry.decomposition import Decomposition
from geometry.objective_settings import Average
from geometry.objectives import Coefficients


@dataclass(frozen=True)
class ObjectiveLoss:
    """The loss of some tokens and what it is made of."""

    loss: Float[Tensor, ""]
    """In nats, with a graph."""
    parts: Decomposition
    """The divergences of each token, without one."""
    weights: Coefficients
    """What each divergence of a token is weighed by in the loss: coefficient times share."""
    entropy: Float[Tensor, "*T"]
    """Of the student's image view at each token, over all ids, in nats; without a graph."""


def token_shares(
    lengths: Int[Tensor, " _N"] | Sequence[int],
    average: Average = "trajectory",
    *,
    n_trajectories: int | None = None,
    n_tokens: int | None = None,
) -> Float64[Tensor, " T"]:
    """Return the weight of each token in the batch loss, trajectories one after the other.

        trajectory    1 / (N |tau_i|)      the mean over trajectories of the mean over their tokens (the paper's)
        token         1 / sum_i |tau_i|    the mean over all tokens

    Args:
        lengths: |tau_i|, tokens of each response, the end token included.
        n_trajectories: N. The global batch's makes micro-batches and ranks add up to the whole (data-parallel
            wrappers take the mean over ranks: multiply by their number). These trajectories alone by default.
        n_tokens: of the global batch too.

    Raises:
        ValueError: a response is empty or no whole number, the global batch is smaller than this part of it or not
            finite, or `average` is another.
    """
    if average not in get_args(Average):
        raise ValueError(f"`average` must be one of {get_args(Average)}, got {average!r}. Name one.")
    stated = torch.as_tensor(lengths)
    counts = stated.long()
    if (counts != stated).any():
        raise ValueError(f"`lengths` must be whole numbers, got {stated[counts != stated][0]}. Count the tokens.")
    if (counts < 1).any():
        raise ValueError(
            f"`lengths` must be at least 1 token each, got {int(counts.min())}. Leave empty responses out."
        )
    sizes = {"n_trajectories": (n_trajectories, len(counts)), "n_tokens": (n_tokens, int(counts.sum()))}
    for name, (count, here) in sizes.items():
        if count is not None and not here <= count < math.inf:
            raise ValueError(f"`{name}` must be at least {here}, those here, got {count}. Count the global batch.")
    if average == "token":
        each = 1.0 / counts.new_full((len(counts),), n_tokens or sizes["n_tokens"][1]).double()
    else:
        each = 1.0 / (counts.double() * (n_trajectories or len(counts)))
    return each.repeat_interleave(counts)


def check_tokens(shape: Sequence[int], **vectors: Tensor | None) -> None:
    """Refuse numbers a token that do not fit the tokens."""
    for name, vector in vectors.items():
        if vector is not None and tuple(vector.shape) != tuple(shape):
            raise ValueError(
                f"`{name}` must have one number a token, got shape {tuple(vector.shape)} for {tuple(shape)}. "
                "Slice it to the tokens of this call."
            )
