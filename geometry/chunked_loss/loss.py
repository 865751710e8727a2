"""The loss of an objective from hidden states: logits of a few tokens at a time, never of all.

Four views of T tokens over V ids are `16 T V` bytes in float32, and autograd keeps several times as much. Here the last
linear map of each model, its head, is applied to a chunk of tokens at a time. The gradients of the objectives at the
logits are known in closed form (see `closed_form`), so each chunk gives its part of the loss *and* of the gradients,
and its logits are let go. What is held is one chunk, the gradients of the hidden states, and one of the head.

Within a chunk, which is large for the sake of the products with the head, a few tokens at a time are normalised and
compared, so that what a processor works on stays in its cache.
"""

from dataclasses import dataclass, replace
from operator import itemgetter

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry._checks import same_shape
from geometry.chunked_loss.blocks import BlockLoss, WithGradients, blocks, joined
from geometry.chunked_loss.closed_form import Distribution, TokenShares, Workspace, kl_of, text_rows
from geometry.four_views import FourViews
from geometry.lm_head import HiddenViews, LMHeadGradients, TextView, chunks
from geometry.loss import ObjectiveLoss, check_tokens
from geometry.objectives import Objective, Thresholds
from geometry.topk import top_ids, topk_log_probs


def objective_loss_from_hidden(
    student: HiddenViews,
    teacher: HiddenViews,
    objective: Objective,
    *,
    thresholds: Thresholds | None = None,
    shares: Float[Tensor, " _T"],
    has_image: Bool[Tensor, " _T"] | None = None,
    vds: Float[Tensor, " _T"] | None = None,
    prior: TextView | None = None,
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
        vds: what `vds_from_hidden` of the teacher returned, if the thresholds were taken from it; else measured here.
        prior: the text view of the student before training, for an objective with prior "frozen".
        top_k: take the loss over the teacher's `top_k` ids and their tail (`topk_log_probs`); of all ids by default.
        chunk: tokens a chunk; by default as many as keep a view's logits within `lm_head.CHUNK_BYTES`.

    Returns:
        inf or nan as `objective_loss`; inf too where a logit of one view alone overflowed to -inf.

    Raises:
        ValueError: shapes, dtypes or ids do not fit each other, the thresholds or the prior are missing, or chunk or
            top_k is below 1.
    """
    _check_models(student=student, teacher=teacher)
    check_tokens(student.image.shape[:1], shares=shares, has_image=has_image, vds=vds)
    objective.check_prior(prior is not None)
    _check_prior(student, prior)
    gradients = _gradients(student, objective)
    task = _Task(BlockLoss(objective, thresholds, Workspace(), top_k), gradients)
    tokens, pieces = TokenShares(shares, has_image, vds), list[ObjectiveLoss]()
    with torch.no_grad():
        for rows in chunks(len(shares), student.head.n_ids, chunk):
            pieces += task.chunk(student, teacher, prior, rows, tokens[rows])
    whole = joined(pieces)
    if gradients is None:
        return whole
    loss = WithGradients.apply(whole.loss, list(gradients.sums.values()), *gradients.sources.values())
    return replace(whole, loss=loss)


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
    pieces, work = [], Workspace()
    for rows in chunks(len(teacher.image), teacher.head.n_ids, chunk):
        image, text = teacher.logits(rows)
        pieces += [_vds(image[block], text[block], top_k, work) for block in blocks(image)]
        del image, text  # before the next chunk's are made
    return torch.cat(pieces)


def _vds(image: Tensor, text: Tensor, top_k: int | None, work: Workspace) -> Tensor:
    if top_k is not None:
        ids = top_ids(image, top_k)
        image, text = topk_log_probs(image, ids), topk_log_probs(text, ids)
    return kl_of(Distribution.normalised(image, work, "q_image"), Distribution.normalised(text, work, "q_text"), work)


@dataclass(frozen=True)
class _Task:
    """What to make of each chunk's logits."""

    block_loss: BlockLoss
    gradients: LMHeadGradients | None

    def chunk(
        self, student: HiddenViews, teacher: HiddenViews, prior: TextView | None, rows: slice, tokens: TokenShares
    ) -> list[ObjectiveLoss]:
        """Return the losses of a chunk's blocks, its gradients added; they overwrite the student's logits."""
        views = FourViews(*student.logits(rows), *teacher.logits(rows), None if prior is None else prior.logits(rows))
        views.map(_first_token).log_probs()  # refuses other masks; a head masks all tokens alike
        losses, head = [], student.head
        for block in blocks(views.student_image):
            logits = views.map(itemgetter(block))
            loss, at_logits = self.block_loss(logits, tokens[block], wants_gradients=self.gradients is not None)
            losses.append(loss)
            if at_logits is not None:
                views.student_image[block] = head.before_cap(at_logits.image, logits.student_image)
                if at_logits.text is not None:
                    views.student_text[block] = head.before_cap(at_logits.text, logits.student_text)
        self._add(views, losses, rows)
        return losses

    def _add(self, at_logits: FourViews, losses: list[ObjectiveLoss], rows: slice) -> None:
        """Carry a chunk's gradients on to the head; of the text view those of the tokens that have one."""
        gradients, objective = self.gradients, self.block_loss.objective
        if gradients is None:
            return
        if objective.trains_image_view:
            gradients.add("image", rows, at_logits.student_image)
        if objective.trains_text_view:
            (at,) = torch.cat([text_rows(loss.weights, objective) for loss in losses]).nonzero(as_tuple=True)
            if len(at) == len(at_logits.student_text):
                gradients.add("text", rows, at_logits.student_text)
            else:
                gradients.add("text", rows.start + at, at_logits.student_text[at])


def _gradients(student: HiddenViews, objective: Objective) -> LMHeadGradients | None:
    """Where the student's gradients are added up; None where there are none."""
    if not torch.is_grad_enabled():
        return None
    image = student.image if objective.trains_image_view else None
    gradients = LMHeadGradients(student.head, image=image, text=student.text if objective.trains_text_view else None)
    return gradients if gradients.sources else None


def _check_prior(student: HiddenViews, prior: TextView | None) -> None:
    """Refuse a prior of other tokens or ids than the student's."""
    if prior is None:
        return
    same_shape(student_text_hidden=student.text[:, 0], prior_hidden=prior.hidden[:, 0])
    if prior.head.n_ids != student.head.n_ids:
        raise ValueError(
            f"`prior` must have the ids of `student`, got {prior.head.n_ids} and {student.head.n_ids}. Give the text"
            " view of the student before training."
        )


def _first_token(view: Tensor) -> Tensor:
    return view[:1]


def _check_models(**models: HiddenViews) -> None:
    """Refuse hidden states that do not fit their head, and models of other tokens or ids than the first."""
    first_name, first = next(iter(models.items()))
    for name, model in models.items():
        same_shape(**{f"{first_name}_image_hidden": first.image[:, 0], f"{name}_image_hidden": model.image[:, 0]})
        same_shape(**{f"{name}_image_hidden": model.image, f"{name}_text_hidden": model.text})
        for view in ("image", "text"):
            hidden, head = getattr(model, view), model.head.weight
            if hidden.shape[1] != head.shape[1] or hidden.dtype != head.dtype:
                raise ValueError(
                    f"`{name}_{view}_hidden` must have the width and dtype of `{name}_head`, got {hidden.shape[1]} of "
                    f"{hidden.dtype} and {head.shape[1]} of {head.dtype}. Give what the head is applied to."
                )
        if model.head.n_ids != first.head.n_ids:
            raise ValueError(
                f"`{name}_head` must have the ids of `{first_name}_head`, got {model.head.n_ids} and "
                f"{first.head.n_ids}. Set `n_ids` to the number of ids that both tokenizers hold."
            )
