"""The loss of an objective from hidden states: logits of a few tokens at a time, never of all.

Four views of T tokens over V ids are `16 T V` bytes in float32, and autograd keeps several times as much. Here the last
linear map of each model, its head, is applied to a chunk of tokens at a time. The gradients of the objectives at the
logits are known in closed form (see `cotangents`), so each chunk gives its part of the loss *and* of the gradients, and
its logits are let go. What is held is one chunk, the gradients of the hidden states, and one of the head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from geometry._checks import same_shape
from geometry.cotangents import cotangents
from geometry.decomposition import Decomposition
from geometry.divergence import kl_nats, log_probs
from geometry.loss import ObjectiveLoss, check_tokens, objective_loss
from geometry.objectives import Coefficients, Objective, Thresholds

CHUNK_BYTES = 1 << 23
"""Of the logits of one view of a chunk in float32; some sixteen such tensors live at a time. Chosen for processors:
twice the size is somewhat faster, but leaves the heap in pieces and takes four times the memory. Accelerators want a
larger `chunk`."""

Hidden = Float[Tensor, "_T _d"]
Views = tuple[Tensor, Tensor, Tensor, Tensor]
Record = TypeVar("Record", Decomposition, Coefficients)


@dataclass(frozen=True)
class Head:
    """The last linear map of a model, from hidden states to the logits of the ids that count.

    Raises:
        ValueError: `weight`, `bias` and `support` do not fit each other.
    """

    weight: Float[Tensor, "_rows _d"]
    bias: Float[Tensor, " _rows"] | None = None
    support: int | None = None
    """Number of leading ids that count, all rows by default; heads have padding rows beyond the tokenizer's ids."""
    masked: Sequence[int] = ()
    """Ids that take no mass, such as those banned at sampling."""

    def __post_init__(self) -> None:
        rows = len(self.weight)
        if self.bias is not None and len(self.bias) != rows:
            raise ValueError(f"`bias` must have one number a row of `weight`, got {len(self.bias)} and {rows}.")
        if self.support is not None and not 1 <= self.support <= rows:
            raise ValueError(f"`support` must lie in 1..{rows}, the rows of `weight`, got {self.support}.")
        if not all(0 <= index < rows for index in self.masked):
            raise ValueError(f"`masked` must hold ids in 0..{rows - 1}, got {list(self.masked)}.")

    @property
    def n_ids(self) -> int:
        """V, the ids that count."""
        return len(self.weight) if self.support is None else self.support

    def logits(self, hidden: Float[Tensor, "n _d"]) -> Float[Tensor, "n _V"]:
        """Return logits in the precision of the weight, as the model itself does; masked ids have -inf."""
        logits = linear(hidden, self.weight[: self.n_ids], None if self.bias is None else self.bias[: self.n_ids])
        masked = [index for index in self.masked if index < self.n_ids]
        return logits.index_fill(1, torch.tensor(masked, device=logits.device), -torch.inf) if masked else logits


@dataclass(frozen=True)
class _Model:
    """The hidden states of one model under both views, and its head."""

    image: Tensor
    text: Tensor
    head: Head

    def logits(self, rows: slice) -> tuple[Tensor, Tensor]:
        return self.head.logits(self.image[rows]), self.head.logits(self.text[rows])


def objective_loss_from_hidden(
    student_image_hidden: Hidden,
    student_text_hidden: Hidden,
    student_head: Head,
    teacher_image_hidden: Hidden,
    teacher_text_hidden: Hidden,
    teacher_head: Head,
    objective: Objective,
    *,
    thresholds: Thresholds | None = None,
    shares: Float[Tensor, " _T"],
    has_image: Bool[Tensor, " _T"] | None = None,
    chunk: int | None = None,
) -> ObjectiveLoss:
    """Return what `objective_loss` of the four views' logits returns, holding those of a chunk of tokens at a time.

    Differentiable once, in the student's hidden states, head weight and bias. The head's gradient is added up in
    float32 or better. The text view gets no gradient unless `objective.trains_text_view`.

    Args:
        student_image_hidden: what the student's head is applied to under the image view; the others likewise. The
        widths of student and teacher may differ.
        thresholds, shares, has_image: see `objective_loss`.
        chunk: tokens a chunk; by default as many as keep a view's logits within `CHUNK_BYTES`.

    Raises:
        ValueError: shapes, dtypes or ids do not fit each other, the thresholds are missing, or chunk is below 1.
    """
    student = _Model(student_image_hidden, student_text_hidden, student_head)
    teacher = _Model(teacher_image_hidden, teacher_text_hidden, teacher_head)
    _check_models(student=student, teacher=teacher)
    check_tokens(student.image.shape[:1], shares=shares, has_image=has_image)
    gradients = _Gradients(student, objective)
    found: list[ObjectiveLoss] = []
    for rows in _chunks(len(shares), student.head.n_ids, chunk):
        seen = None if has_image is None else has_image[rows]
        with torch.no_grad():
            views: Views = *student.logits(rows), *teacher.logits(rows)
            part = objective_loss(*views, objective, thresholds=thresholds, shares=shares[rows], has_image=seen)
            gradients.add(rows, views, part.weights)
        found.append(part)
    loss = gradients.give(torch.stack([part.loss for part in found]).sum())
    parts = _joined(Decomposition, [part.parts for part in found])
    return ObjectiveLoss(loss, parts, _joined(Coefficients, [part.weights for part in found]))


@torch.no_grad()
def vds_from_hidden(
    teacher_image_hidden: Hidden, teacher_text_hidden: Hidden, teacher_head: Head, *, chunk: int | None = None
) -> Float[Tensor, " T"]:
    """Return the visual dependency of each token in nats (arXiv:2606.00564, Eq. 12), by chunks.

    For the thresholds, which are needed before the loss. With the same tokens and chunk the values are, bit for bit,
    those that the loss compares with them.

    Raises:
        ValueError: shapes or dtypes do not fit each other, or chunk is below 1.
    """
    teacher = _Model(teacher_image_hidden, teacher_text_hidden, teacher_head)
    _check_models(teacher=teacher)
    chunks = _chunks(len(teacher.image), teacher.head.n_ids, chunk)
    return torch.cat([kl_nats(*map(log_probs, teacher.logits(rows))) for rows in chunks])


@torch.no_grad()
def logit_gradients(views: Views, weights: Coefficients, objective: Objective) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of the loss at the student's image-view and text-view logits, `[n, V]`, in closed form.

    Those of the text view are none unless `objective.trains_text_view`.
    """
    student_image, student_text, teacher_image, teacher_text = views
    w = {field.name: getattr(weights, field.name).unsqueeze(-1) for field in fields(weights)}
    c = cotangents(*views)
    image = w["standard"] * c.standard + w["visual"] * c.visual
    if "forward" in objective.terms:  # d KL(q || p) / dz = p - q
        image += w["forward"] * (log_probs(student_image).exp() - log_probs(teacher_image).exp())
    if not objective.trains_text_view:
        return image, None
    text = w["language"] * c.language
    if objective.target_follows:
        text += w["visual"] * c.shift
    if "printed" in objective.terms:  # Eq. 11 with the text view in the image view's place
        c = cotangents(student_text, student_text, teacher_image, teacher_text)
        text += w["printed"] * (c.visual + c.shift if objective.target_follows else c.visual)
    return image, text


class _Gradients:
    """The gradients of a loss in a model's hidden states and head, added up over chunks."""

    def __init__(self, model: _Model, objective: Objective) -> None:
        self._model, self._objective = model, objective
        text = model.text if objective.trains_text_view else None
        sources = {"image": model.image, "text": text, "weight": model.head.weight, "bias": model.head.bias}
        wanted = {name: source for name, source in sources.items() if source is not None and source.requires_grad}
        self._sources = wanted if torch.is_grad_enabled() else {}
        self._sums = {name: _zeros_like(source) for name, source in self._sources.items()}

    def add(self, rows: slice, views: Views, weights: Coefficients) -> None:
        """Add those of a chunk, given its logits."""
        if self._sources:
            image, text = logit_gradients(views, weights, self._objective)
            self._add("image", rows, image)
            if text is not None:
                self._add("text", rows, text)

    def _add(self, view: str, rows: slice, gradient: Tensor) -> None:
        """Carry the gradient `[n, V]` at a view's logits on to the hidden states and the head."""
        weight, n_ids = self._model.head.weight, self._model.head.n_ids
        if view in self._sums:
            self._sums[view][rows] = gradient.to(weight) @ weight[:n_ids]
        if "weight" in self._sums:
            total, hidden = self._sums["weight"][:n_ids], getattr(self._model, view)[rows]
            total.addmm_(gradient.to(total).T, hidden.to(total))
        if "bias" in self._sums:
            self._sums["bias"][:n_ids] += gradient.sum(dim=0)

    def give(self, loss: Tensor) -> Tensor:
        """Return the loss as a function of its sources."""
        return _Known.apply(loss, list(self._sums.values()), *self._sources.values()) if self._sources else loss


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


def _zeros_like(source: Tensor) -> Tensor:
    return torch.zeros_like(source, dtype=torch.promote_types(source.dtype, torch.float32))


def _chunks(n_tokens: int, n_ids: int, chunk: int | None) -> Iterator[slice]:
    if chunk is not None and chunk < 1:
        raise ValueError(f"`chunk` must be at least 1 token, got {chunk}.")
    size = chunk or max(CHUNK_BYTES // (4 * n_ids), 1)
    return (slice(start, min(start + size, n_tokens)) for start in range(0, max(n_tokens, 1), size))


def _joined(kind: type[Record], chunks: Sequence[Record]) -> Record:
    """Put the vectors of several chunks end to end."""
    return kind(**{field.name: torch.cat([getattr(part, field.name) for part in chunks]) for field in fields(kind)})


def _check_models(**models: _Model) -> None:
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
                f"{first.head.n_ids}. Set `support` to the number of ids that both tokenizers hold."
            )
