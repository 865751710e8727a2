"""The loss of an objective from hidden states: logits of a few tokens at a time, never of all.

Four views of T tokens over V ids are `16 T V` bytes in float32, and autograd keeps several times as much. Here the last
linear map of each model, its head, is applied to a chunk of tokens at a time. The gradients of the objectives at the
logits are known in closed form (see `closed_form`), so each chunk gives its part of the loss *and* of the gradients,
and its logits are let go. What is held is one chunk, the gradients of the hidden states, and one of the head.

Within a chunk, which is large for the sake of the products with the head, a few tokens at a time are normalised and
compared, so that what a processor works on stays in its cache.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from operator import itemgetter
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from geometry._checks import same_shape
from geometry.chunked_loss.closed_form import (
    Distribution,
    FourDistributions,
    LogitGradients,
    TokenShares,
    Workspace,
    gradients_of,
    kl_of,
    loss_of,
)
from geometry.decomposition import Decomposition
from geometry.four_views import FourViews
from geometry.lm_head import HiddenViews, LMHeadGradients, chunks, cuts
from geometry.loss import ObjectiveLoss, check_tokens
from geometry.objectives import Coefficients, Objective, Thresholds
from geometry.topk import spread, top_ids, topk_log_probs

BLOCK_BYTES = 1 << 20
"""Of one view of the tokens that a processor compares at a time, in float32; sixteen such tensors are
held, see `Workspace`. Other devices take the whole chunk."""

Record = TypeVar("Record", Decomposition, Coefficients)


def objective_loss_from_hidden(
    student: HiddenViews,
    teacher: HiddenViews,
    objective: Objective,
    *,
    thresholds: Thresholds | None = None,
    shares: Float[Tensor, " _T"],
    has_image: Bool[Tensor, " _T"] | None = None,
    top_k: int | None = None,
    chunk: int | None = None,
) -> ObjectiveLoss:
    """Return what `objective_loss` of the four views' logits returns, holding those of a chunk of tokens at a time.

    Differentiable once, in the student's hidden states, head weight and bias. The gradients at the logits are in the
    precision of the head, as autograd has them; the head's own is added up in float32 or better. The text view gets no
    gradient unless `objective.trains_text_view`.

    Args:
        student, teacher: their widths may differ.
        thresholds, shares, has_image: see `objective_loss`.
        top_k: take the loss over the teacher's `top_k` ids and their tail (`topk_log_probs`); of all ids by default.
        chunk: tokens a chunk; by default as many as keep a view's logits within `lm_head.CHUNK_BYTES`.

    Raises:
        ValueError: shapes, dtypes or ids do not fit each other, the thresholds are missing, or chunk is below 1.
    """
    _check_models(student=student, teacher=teacher)
    check_tokens(student.image.shape[:1], shares=shares, has_image=has_image)
    gradients = _gradients(student, objective)
    task = _Task(objective, thresholds, top_k, gradients, Workspace())
    tokens, found = TokenShares(shares, has_image), list[ObjectiveLoss]()
    with torch.no_grad():
        for rows in chunks(len(shares), student.head.n_ids, chunk):
            found += task.chunk(student, teacher, rows, tokens[rows])
    loss = torch.stack([part.loss for part in found]).sum()
    if gradients is not None and gradients.sources:
        loss = _Known.apply(loss, list(gradients.sums.values()), *gradients.sources.values())
    parts = _joined(Decomposition, [part.parts for part in found])
    return ObjectiveLoss(loss, parts, _joined(Coefficients, [part.weights for part in found]))


@torch.no_grad()
def vds_from_hidden(
    teacher: HiddenViews,
    *,
    top_k: int | None = None,
    chunk: int | None = None,
) -> Float[Tensor, " T"]:
    """Return the visual dependency of each token in nats (arXiv:2606.00564, Eq. 12), by chunks.

    For the thresholds, which are needed before the loss. With the same tokens, top_k and chunk the values are, bit for
    bit, those that the loss compares with them.

    Raises:
        ValueError: shapes or dtypes do not fit each other, or chunk or top_k is below 1.
    """
    _check_models(teacher=teacher)
    found, work = [], Workspace()
    for rows in chunks(len(teacher.image), teacher.head.n_ids, chunk):
        image, text = teacher.logits(rows)
        found += [_vds(image[block], text[block], top_k, work) for block in _blocks(image)]
        del image, text  # before the next chunk's are made
    return torch.cat(found)


def _vds(image: Tensor, text: Tensor, top_k: int | None, work: Workspace) -> Tensor:
    if top_k is not None:
        ids = top_ids(image, top_k)
        image, text = topk_log_probs(image, ids), topk_log_probs(text, ids)
    return kl_of(Distribution.normalised(image, work, "q_image"), Distribution.normalised(text, work, "q_text"), work)


@dataclass(frozen=True)
class _Task:
    """What to make of each chunk's logits."""

    objective: Objective
    thresholds: Thresholds | None
    top_k: int | None
    gradients: LMHeadGradients | None
    work: Workspace

    def chunk(
        self, student: HiddenViews, teacher: HiddenViews, rows: slice, tokens: TokenShares
    ) -> list[ObjectiveLoss]:
        """Return the losses of a chunk's blocks, its gradients added; they overwrite the student's logits."""
        views = FourViews(*student.logits(rows), *teacher.logits(rows))
        views.map(_first_token).log_probs()  # refuses other masks; a head masks all tokens alike
        found = []
        for block in _blocks(views.student_image):
            loss, at_logits = self._block(views.map(itemgetter(block)), tokens[block])
            found.append(loss)
            if at_logits is not None:
                head = student.head
                views.student_image[block] = head.before_cap(at_logits.image, views.student_image[block])
                if at_logits.text is not None:
                    views.student_text[block] = head.before_cap(at_logits.text, views.student_text[block])
        if self.gradients is not None:
            if self.objective.trains_image_view:
                self.gradients.add("image", rows, views.student_image)
            if self.objective.trains_text_view:
                self.gradients.add("text", rows, views.student_text)
        return found

    def _block(self, logits: FourViews, tokens: TokenShares) -> tuple[ObjectiveLoss, LogitGradients | None]:
        ids = None if self.top_k is None else top_ids(logits.teacher_image, self.top_k)
        kept = logits if ids is None else logits.map(lambda view: topk_log_probs(view, ids))
        views = FourDistributions.normalised(kept, self.work)
        loss = loss_of(views, self.objective, self.thresholds, tokens, self.work)
        if self.gradients is None:
            return loss, None
        found = gradients_of(views, loss.weights, self.objective, self.work)
        if ids is None:
            return loss, found
        text = None if found.text is None else spread(found.text, logits.student_text, ids)
        return loss, LogitGradients(spread(found.image, logits.student_image, ids), text)


class _Known(torch.autograd.Function):
    """A number whose gradients in its sources are known before the backward pass, which scales them."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *sources: Tensor) -> Tensor:
        ctx.save_for_backward(*gradients)
        ctx.dtypes = [source.dtype for source in sources]
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        # No copy of the head's gradient for `loss.backward()`; never in place, for a graph may be walked twice.
        scaled = ctx.saved_tensors if scale == 1 else [gradient * scale for gradient in ctx.saved_tensors]
        return None, None, *(gradient.to(dtype) for gradient, dtype in zip(scaled, ctx.dtypes, strict=True))


def _gradients(student: HiddenViews, objective: Objective) -> LMHeadGradients | None:
    """Where the student's gradients are added up; None where there are none."""
    if not torch.is_grad_enabled():
        return None
    image = student.image if objective.trains_image_view else None
    found = LMHeadGradients(student.head, image=image, text=student.text if objective.trains_text_view else None)
    return found if found.sources else None


def _first_token(view: Tensor) -> Tensor:
    return view[:1]


def _blocks(logits: Tensor) -> Iterator[slice]:
    n_tokens, n_ids = logits.shape
    return cuts(n_tokens, max(BLOCK_BYTES // (4 * n_ids), 1) if logits.device.type == "cpu" else max(n_tokens, 1))


def _joined(kind: type[Record], blocks: Sequence[Record]) -> Record:
    """Put the vectors of several blocks end to end."""
    return kind(**{field.name: torch.cat([getattr(part, field.name) for part in blocks]) for field in fields(kind)})


def _check_models(**models: HiddenViews) -> None:
    """Refuse hidden states that do not fit their head, and models of other tokens or ids than the first."""
    first_name, first = next(iter(models.items()))
    for name, model in models.items():
        same_shape(**{f"{first_name}_image_hidden": first.image[:, 0], f"{name}_image_hidden": model.image[:, 0]})
        same_shape(**{f"{name}_image_hidden": model.image, f"{name}_text_hidden": model.text})
        for view in ("image", "text"):
            found, head = getattr(model, view), model.head.weight
            if found.shape[1] != head.shape[1] or found.dtype != head.dtype:
                raise ValueError(
                    f"`{name}_{view}_hidden` must have the width and dtype of `{name}_head`, got {found.shape[1]} of "
                    f"{found.dtype} and {head.shape[1]} of {head.dtype}. Give what the head is applied to."
                )
        if model.head.n_ids != first.head.n_ids:
            raise ValueError(
                f"`{name}_head` must have the ids of `{first_name}_head`, got {model.head.n_ids} and "
                f"{first.head.n_ids}. Set `n_ids` to the number of ids that both tokenizers hold."
            )
