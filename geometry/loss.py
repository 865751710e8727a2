"""The loss of a batch under an objective (arXiv:2606.00564, Eq. 1-25): its tokens' divergences, weighed and shared out.

    loss = sum_t share_t sum_k coefficient_k,t divergence_k,t

Coefficients come from `objectives`, shares from `token_shares`. `chunked_loss` gives the same without whole logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from geometry.decomposition import Decomposition, decompose
from geometry.divergence import kl_nats, log_probs
from geometry.four_views import FourViews
from geometry.objective_settings import Average
from geometry.objectives import Coefficients, Objective, Thresholds, coefficients


@dataclass(frozen=True)
class ObjectiveLoss:
    """The loss of some tokens and what it is made of."""

    loss: Float[Tensor, ""]
    """In nats, with a graph."""
    parts: Decomposition
    """The divergences of each token, without one."""
    weights: Coefficients
    """What each divergence of a token is weighed by in the loss: coefficient times share."""


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
        ValueError: a response is empty, or the global batch is smaller than this part of it.
    """
    counts = torch.as_tensor(lengths, dtype=torch.long)
    if (counts < 1).any():
        raise ValueError(
            f"`lengths` must be at least 1 token each, got {int(counts.min())}. Leave empty responses out."
        )
    sizes = {"n_trajectories": (n_trajectories, len(counts)), "n_tokens": (n_tokens, int(counts.sum()))}
    for name, (given, here) in sizes.items():
        if given is not None and given < here:
            raise ValueError(f"`{name}` must be at least {here}, those here, got {given}. Count the global batch.")
    if average == "token":
        each = 1.0 / counts.new_full((len(counts),), n_tokens or sizes["n_tokens"][1]).double()
    else:
        each = 1.0 / (counts.double() * (n_trajectories or len(counts)))
    return each.repeat_interleave(counts)


def objective_loss(
    views: FourViews,
    objective: Objective,
    *,
    thresholds: Thresholds | None = None,
    shares: Float[Tensor, "*_batch"],
    has_image: Bool[Tensor, "*_batch"] | None = None,
) -> ObjectiveLoss:
    """Return the loss of these tokens, differentiable in the student's views.

    Args:
        views: the student's text view needs a graph only if `objective.trains_text_view`. Objectives without text
            views, standard and off-policy, can be given the image views twice; then only `parts` differs.
        thresholds, has_image: see `coefficients`.
        shares: weight of each token, see `token_shares`.

    Raises:
        ValueError: shapes or masks differ, or the thresholds are missing.
    """
    check_tokens(views.student_image.shape[:-1], shares=shares, has_image=has_image)
    text = views.student_text if objective.trains_text_view else views.student_text.detach()
    views = replace(views, student_text=text)
    parts = decompose(views)
    divergences = {"standard": parts.standard, "language": parts.language, "visual": parts.visual}
    parts = Decomposition(**{field.name: getattr(parts, field.name).detach() for field in fields(parts)})
    held = text.detach() if text.requires_grad and not objective.target_follows else text
    if held is not text:
        divergences["visual"] = decompose(replace(views, student_text=held)).visual
    if "printed" in objective.terms:  # Eq. 11 with the text view in the image view's place
        divergences["printed"] = decompose(replace(views, student_image=text, student_text=held)).visual
    if "forward" in objective.terms:
        divergences["forward"] = kl_nats(log_probs(views.teacher_image), log_probs(views.student_image))
    weights = coefficients(objective, parts.vds, thresholds, has_image).times(shares)
    loss = torch.stack([(getattr(weights, term) * divergences[term]).sum() for term in objective.terms if term]).sum()
    return ObjectiveLoss(loss, parts, weights)


def check_tokens(shape: Sequence[int], **vectors: Tensor | None) -> None:
    """Refuse numbers a token that do not fit the tokens."""
    for name, vector in vectors.items():
        if vector is not None and tuple(vector.shape) != tuple(shape):
            raise ValueError(
                f"`{name}` must have one number a token, got shape {tuple(vector.shape)} for {tuple(shape)}. "
                "Slice it to the tokens of this call."
            )
