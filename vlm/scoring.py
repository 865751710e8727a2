"""The four views of a response: student and teacher, with and without the picture, at the response's tokens."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from geometry import LMHead
from vlm.checkpoint import CheckpointError, LoadedModel
from vlm.pair import Pair
from vlm.rollouts import Rollout
from vlm.views import Encoded, View, encode

_PROBE = 64.0  # a hidden state this much longer shows a cap on the logits in any precision


@dataclass(frozen=True)
class FourViews:
    """Logits `[T, V]` of one response, over the ids both tokenizers hold; those of pictures are -inf.

    What sampling never draws has no share in a divergence. For a prompt without a picture the text view *is* the
    image view: the same tensor.
    """

    student_image: Tensor
    student_text: Tensor
    teacher_image: Tensor
    teacher_text: Tensor


def score(
    pair: Pair,
    image_views: Sequence[View],
    text_views: Sequence[View],
    rollouts: Sequence[Rollout],
    *,
    batch: int = 32,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[FourViews]:
    """Yield the four views of each rollout, in order; `image_views[i]` and `text_views[i]` belong to `rollouts[i]`.

    Micro-batches are cut by order, so that at one number of threads the same call gives the same bits.
    """
    responses = [rollout.token_ids for rollout in rollouts]
    for start in range(0, len(rollouts), batch):
        cut = slice(start, start + batch)
        sides = [
            _both_views(member, image_views[cut], text_views[cut], responses[cut], pair)
            for member in (pair.student, pair.teacher)
        ]
        for (student_image, student_text), (teacher_image, teacher_text) in zip(*sides, strict=True):
            yield FourViews(student_image, student_text, teacher_image, teacher_text)
        progress(min(start + batch, len(rollouts)))


def _both_views(
    member: LoadedModel, images: Sequence[View], texts: Sequence[View], responses: Sequence[Sequence[int]], pair: Pair
) -> list[tuple[Tensor, Tensor]]:
    with torch.no_grad():
        image = view_logits(member, images, responses, pair.support)
        rows = [row for row, (a, b) in enumerate(zip(images, texts, strict=True)) if a != b]
        text = view_logits(member, [texts[r] for r in rows], [responses[r] for r in rows], pair.support)
    own_text = dict(zip(rows, text, strict=True))
    return [(logits, own_text.get(row, logits)) for row, logits in enumerate(image)]


def view_logits(
    member: LoadedModel, views: Sequence[View], responses: Sequence[Sequence[int]], support: int
) -> list[Tensor]:
    """Return the logits `[T, V]` of each response under its view, differentiable where gradients are enabled.

    Ids below `support` alone, -inf at those that stand for pictures: the ids that sampling draws from.
    """
    if not views:
        return []
    encoded = encode(views, responses, member.processor, member.visual_ids).to(member.device)
    masked = _pictured(member, support)
    return [logits.masked_fill(masked, -torch.inf) for logits in response_logits(member, encoded, support)]


def view_hidden(member: LoadedModel, views: Sequence[View], responses: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return the hidden states `[T, d]` of each response under its view: `head_of(...)` of them is `view_logits`.

    Differentiable where gradients are enabled. The logits of the response are never made.

    Raises:
        CheckpointError: the model's logits are not one linear map of these.
    """
    if not views:
        return []
    encoded = encode(views, responses, member.processor, member.visual_ids).to(member.device)
    return response_hidden(member, encoded)


def head_of(member: LoadedModel, support: int) -> LMHead:
    """Return the last linear map of a model, over the ids below `support`, those that stand for pictures masked.

    Its weight is the model's parameter: a gradient in one is a gradient in the other.

    Raises:
        CheckpointError: the model's output layer is none.
    """
    layer = _output_layer(member)
    masked = tuple(index for index in member.visual_ids if index < support)
    return LMHead(layer.weight, layer.bias, support=support, masked=masked)


class ResponseView:
    """One response under one view, encoded once and run as often and as far as asked."""

    def __init__(self, member: LoadedModel, view: View, response: Sequence[int], support: int) -> None:
        self._member, self._support = member, support
        self._encoded = encode([view], [response], member.processor, member.visual_ids).to(member.device)
        self._masked = _pictured(member, support)

    def __call__(self, positions: Tensor) -> Tensor:
        """Return the logits `[n, V]` at ascending positions of the response, as `view_logits` does, float32 or better.

        Nothing is run behind the last position.
        """
        (first,) = self._encoded.first
        stop = first + int(positions[-1]) + 1
        shape = self._encoded.inputs["input_ids"].shape
        inputs = {k: v[:, :stop] if v.shape == shape else v for k, v in self._encoded.inputs.items()}
        kept = first + positions.to(self._member.device)
        logits = self._member.model(**inputs, logits_to_keep=kept, use_cache=False).logits
        logits = logits[0, :, : self._support].masked_fill(self._masked, -torch.inf)
        return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def _pictured(member: LoadedModel, support: int) -> Tensor:
    """Which ids below `support` stand for pictures."""
    masked = torch.zeros(support, dtype=torch.bool, device=member.device)
    masked[[index for index in member.visual_ids if index < support]] = True
    return masked


def response_logits(member: LoadedModel, encoded: Encoded, support: int) -> list[Tensor]:
    """One forward pass; the head runs from the first response column on, and rows of padding are cut off."""
    return [logits[:, :support] for logits in _spans(_kept_logits(member, encoded), encoded)]


def response_hidden(member: LoadedModel, encoded: Encoded) -> list[Tensor]:
    """Likewise what the head is handed, in its precision; it runs on one column alone, to see that it is all there is.

    Raises:
        CheckpointError: the model's logits are not one linear map of what its output layer is handed.
    """
    layer = _output_layer(member)
    handed: list[Tensor] = []

    def take(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        handed.append(inputs[0])
        return (_probe(inputs[0]),)

    hook = layer.register_forward_pre_hook(take)
    try:
        logits = _kept_logits(member, encoded)
    finally:
        hook.remove()
    (hidden,) = handed
    _check_linear(member, layer, _probe(hidden), logits.detach())
    return _spans(hidden.to(layer.weight.dtype), encoded)


def _kept_logits(member: LoadedModel, encoded: Encoded) -> Tensor:
    """The model's logits from the first response column on."""
    kept = torch.arange(min(encoded.first), encoded.inputs["input_ids"].shape[1] - 1, device=member.device)
    return member.model(**encoded.inputs, logits_to_keep=kept, use_cache=False).logits


def _spans(rows: Tensor, encoded: Encoded) -> list[Tensor]:
    """Cut `[B, columns, ...]` from the first response column on into each response's own rows."""
    begin, spans = min(encoded.first), zip(encoded.first, encoded.lengths, strict=True)
    return [rows[row, first - begin : first - begin + n] for row, (first, n) in enumerate(spans)]


def _output_layer(member: LoadedModel) -> nn.Linear:
    layer = member.model.get_output_embeddings()
    if not isinstance(layer, nn.Linear):
        raise CheckpointError(
            f"`checkpoint` {member.name} must have a linear output layer for a loss from hidden states, got "
            f"{type(layer).__name__}; leave it out of the adapter, or take the loss from `view_logits`"
        )
    return layer


def _probe(hidden: Tensor) -> Tensor:
    """The first column of hidden states `[B, columns, d]` as it is and lengthened, `[B, 2, d]`."""
    first = hidden[:, :1].detach()
    return torch.cat([first, _PROBE * first], dim=1)


@torch.no_grad()
def _check_linear(member: LoadedModel, layer: nn.Linear, probe: Tensor, found: Tensor) -> None:
    """Refuse logits that are capped or scaled behind the output layer; the tolerance is half precision's."""
    expected = linear(probe, layer.weight, layer.bias).to(found.dtype)
    apart, most = ((x.abs().amax(dim=(0, 2)).tolist()) for x in (found - expected, expected))
    worst = max(range(2), key=lambda column: apart[column] - 0.02 * most[column])
    if apart[worst] > 0.02 * most[worst]:
        raise CheckpointError(
            f"`checkpoint` {member.name} must have logits that are one linear map of its last hidden state, got a "
            f"difference of {apart[worst]:.3g} at logits up to {most[worst]:.3g} (a cap or scale follows that layer); "
            "take the loss from `view_logits`"
        )
