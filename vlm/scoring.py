"""The four views of a response: student and teacher, with and without the picture, at the response's tokens."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlm.checkpoint import Member
from vlm.pair import Pair
from vlm.rollouts import Rollout
from vlm.views import Encoded, View, encode


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
    member: Member, images: Sequence[View], texts: Sequence[View], responses: Sequence[Sequence[int]], pair: Pair
) -> list[tuple[Tensor, Tensor]]:
    with torch.no_grad():
        image = view_logits(member, images, responses, pair.support)
        rows = [row for row, (a, b) in enumerate(zip(images, texts, strict=True)) if a != b]
        text = view_logits(member, [texts[r] for r in rows], [responses[r] for r in rows], pair.support)
    own_text = dict(zip(rows, text, strict=True))
    return [(logits, own_text.get(row, logits)) for row, logits in enumerate(image)]


def view_logits(
    member: Member, views: Sequence[View], responses: Sequence[Sequence[int]], support: int
) -> list[Tensor]:
    """Return the logits `[T, V]` of each response under its view, differentiable where gradients are enabled.

    Ids below `support` alone, -inf at those that stand for pictures: the ids that sampling draws from.
    """
    if not views:
        return []
    encoded = encode(views, responses, member.processor, member.visual_ids).to(member.device)
    masked = _pictured(member, support)
    return [logits.masked_fill(masked, -torch.inf) for logits in response_logits(member, encoded, support)]


class ResponseView:
    """One response under one view, encoded once and run as often and as far as asked."""

    def __init__(self, member: Member, view: View, response: Sequence[int], support: int) -> None:
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


def _pictured(member: Member, support: int) -> Tensor:
    """Which ids below `support` stand for pictures."""
    masked = torch.zeros(support, dtype=torch.bool, device=member.device)
    masked[[index for index in member.visual_ids if index < support]] = True
    return masked


def response_logits(member: Member, encoded: Encoded, support: int) -> list[Tensor]:
    """One forward pass; the head runs from the first response column on, and rows of padding are cut off."""
    width = encoded.inputs["input_ids"].shape[1]
    begin = min(encoded.first)
    kept = torch.arange(begin, width - 1, device=member.device)
    logits = member.model(**encoded.inputs, logits_to_keep=kept, use_cache=False).logits
    spans = zip(encoded.first, encoded.lengths, strict=True)
    return [logits[row, first - begin : first - begin + n, :support] for row, (first, n) in enumerate(spans)]
