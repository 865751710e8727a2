"""A loss and its gradients at the logits, block by block of tokens: what losses from logits and hidden states share.

A processor compares a few tokens at a time, so that what it works on stays in its cache. Other devices take all tokens
that they are given.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from geometry.chunked_loss.closed_form import (
    Distribution,
    FourDistributions,
    LogitGradients,
    TokenShares,
    Workspace,
    entropy_of,
    gradients_of,
    loss_of,
)
from geometry.decomposition import Decomposition
from geometry.four_views import FourViews
from geometry.lm_head import cuts
from geometry.loss import ObjectiveLoss
from geometry.objectives import Coefficients, Objective, Thresholds
from geometry.topk import spread, top_ids, topk_log_probs

BLOCK_BYTES = 1 << 20
"""Of one view of the tokens that a processor compares at a time, in float32; sixteen such tensors are
held, see `Workspace`. Other devices take the whole chunk."""

Record = TypeVar("Record", Decomposition, Coefficients)


@dataclass(frozen=True)
class BlockLoss:
    """What to make of a block's logits.

    top_k: the teacher's ids that the loss is taken over, with their tail; None for all ids.
    """

    objective: Objective
    thresholds: Thresholds | None
    work: Workspace
    top_k: int | None = None

    def __call__(
        self, logits: FourViews, tokens: TokenShares, *, wants_gradients: bool
    ) -> tuple[ObjectiveLoss, LogitGradients | None]:
        """Return the loss of some tokens without a graph, and its gradients at the student's logits if wanted."""
        ids = None if self.top_k is None else top_ids(logits.teacher_image, self.top_k)
        kept = logits if ids is None else logits.map(lambda view: topk_log_probs(view, ids))
        views = FourDistributions.normalised(kept, self.work)
        loss = loss_of(views, self.objective, self.thresholds, tokens, self.work)
        at_logits = gradients_of(views, loss.weights, self.objective, self.work) if wants_gradients else None
        if ids is None:
            return loss, at_logits
        whole = Distribution.normalised(logits.student_image, self.work, "whole")
        loss = replace(loss, entropy=entropy_of(whole, self.work))
        if at_logits is None:
            return loss, None
        text = None if at_logits.text is None else spread(at_logits.text, logits.student_text, ids)
        return loss, LogitGradients(spread(at_logits.image, logits.student_image, ids), text)


class WithGradients(torch.autograd.Function):
    """A number whose gradients in its sources are computed before the backward pass, which scales them.

    The gradients of a number that is not finite are nan.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *sources: Tensor) -> Tensor:
        ctx.save_for_backward(value, *gradients)
        ctx.dtypes = [source.dtype for source in sources]
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        value, *gradients = ctx.saved_tensors
        scale = scale.where(value.isfinite(), torch.nan)
        # No copy of the head's gradient for `loss.backward()`; never in place, for a graph may be walked twice.
        scaled = gradients if scale == 1 else [gradient * scale for gradient in gradients]
        return None, None, *(gradient.to(dtype) for gradient, dtype in zip(scaled, ctx.dtypes, strict=True))


def blocks(logits: Tensor) -> Iterator[slice]:
    """Cut the tokens of logits `[n, V]` into blocks; no tokens are one block, of none."""
    n_tokens, n_ids = logits.shape
    return cuts(n_tokens, max(BLOCK_BYTES // (4 * n_ids), 1) if logits.device.type == "cpu" else max(n_tokens, 1))


def joined(losses: Sequence[ObjectiveLoss], loss: Tensor | None = None) -> ObjectiveLoss:
    """Return the losses of several blocks as one: vectors end to end, and the sum, or `loss` if given."""
    total = torch.stack([part.loss for part in losses]).sum() if loss is None else loss
    parts = _end_to_end(Decomposition, [part.parts for part in losses])
    weights = _end_to_end(Coefficients, [part.weights for part in losses])
    return ObjectiveLoss(total, parts, weights, torch.cat([part.entropy for part in losses]))


def _end_to_end(kind: type[Record], records: Sequence[Record]) -> Record:
    return kind(**{field.name: torch.cat([getattr(one, field.name) for one in records]) for field in fields(kind)})
