"""The loss of an objective from whole logits, with its gradient computed in the same pass.

Autograd would keep about fifty tensors `[T, V]`: normalised views, ratios, masks. Here the tokens are taken a block at
a time. What is kept is the gradient at the student's logits, one tensor for each view that the objective trains.
"""

from dataclasses import fields, replace
from operator import itemgetter

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry._checks import Logits, same_logits, same_mask
from geometry.chunked_loss.blocks import BlockLoss, WithGradients, blocks, joined
from geometry.chunked_loss.closed_form import TokenShares, Workspace
from geometry.decomposition import Decomposition
from geometry.four_views import FourViews
from geometry.lm_head import chunks
from geometry.loss import ObjectiveLoss, check_tokens
from geometry.objectives import Coefficients, Objective, Thresholds


def objective_loss(
    views: FourViews,
    objective: Objective,
    *,
    thresholds: Thresholds | None = None,
    shares: Float[Tensor, "*_batch"],
    has_image: Bool[Tensor, "*_batch"] | None = None,
) -> ObjectiveLoss:
    """Return the loss of these tokens, differentiable once in the student's views.

    Args:
        views: the student's text view needs a graph only if `objective.trains_text_view`. Objectives without text
            views, standard and off-policy, can be given the image views twice; then only `parts` differs.
            `prior_text` belongs to objectives with prior "frozen" and takes no gradient.
        thresholds, has_image: see `coefficients`.
        shares: weight of each token, see `token_shares`.

    Returns:
        inf where one view has no probability at all for an id that another one draws (a gap of 1e20 nats), nan where a
        logit is nan or inf, or a token masks every id. The gradients of a loss that is not finite are nan.

    Raises:
        ValueError: shapes or masks differ, there is no id, or the thresholds are missing.
    """
    shape = views.student_image.shape[:-1]
    check_tokens(shape, shares=shares, has_image=has_image)
    same_logits(**views.named)
    objective.check_prior(views.prior_text is not None)
    sources = _sources(views, objective)
    flat = views.map(lambda view: view.detach().reshape(-1, view.shape[-1]))
    tokens = TokenShares(shares.reshape(-1), None if has_image is None else has_image.reshape(-1))
    block_loss = BlockLoss(objective, thresholds, Workspace())
    with torch.no_grad():
        gradients = {name: torch.zeros_like(getattr(flat, name)) for name in sources}
        pieces = [
            _block(flat.map(itemgetter(rows)), tokens[rows], block_loss, {k: g[rows] for k, g in gradients.items()})
            for chunk in chunks(*flat.student_image.shape)
            for rows in _shifted(flat.student_image, chunk)
        ]
    whole = joined(pieces)
    if sources:
        shaped = [gradient.view_as(sources[name]) for name, gradient in gradients.items()]
        whole = replace(whole, loss=WithGradients.apply(whole.loss, shaped, *sources.values()))
    return _in_shape(whole, shape)


def _sources(views: FourViews, objective: Objective) -> dict[str, Logits]:
    """The student's views that get a gradient, by name."""
    trained = {"student_image": objective.trains_image_view, "student_text": objective.trains_text_view}
    views_of = {name: getattr(views, name) for name, is_trained in trained.items() if is_trained}
    return {name: view for name, view in views_of.items() if view.requires_grad and torch.is_grad_enabled()}


def _block(logits: FourViews, tokens: TokenShares, block_loss: BlockLoss, out: dict[str, Tensor]) -> ObjectiveLoss:
    """Return the loss of a block, its gradients written into `out`."""
    if any((view == -torch.inf).any() for view in logits.each):
        same_mask(**logits.named)
    loss, at_logits = block_loss(logits, tokens, wants_gradients=bool(out))
    if at_logits is not None:
        gradients = {"student_image": at_logits.image, "student_text": at_logits.text}
        for name, gradient in out.items():
            if (own := gradients[name]) is not None:
                gradient.copy_(own)
    return loss


def _shifted(logits: Tensor, chunk: slice) -> list[slice]:
    """The blocks of a chunk, as rows of all tokens."""
    start = chunk.start
    return [slice(start + block.start, start + block.stop) for block in blocks(logits[chunk])]


def _in_shape(loss: ObjectiveLoss, shape: torch.Size) -> ObjectiveLoss:
    """Give what belongs to tokens the axes of the views."""

    def shaped(kind: type, record: object) -> dict[str, Tensor]:
        return {field.name: getattr(record, field.name).view(shape) for field in fields(kind)}

    parts = Decomposition(**shaped(Decomposition, loss.parts))
    weights = Coefficients(**shaped(Coefficients, loss.weights))
    return ObjectiveLoss(loss.loss, parts, weights, loss.entropy.view(shape))
