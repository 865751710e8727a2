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
    masked = torch.zeros(support, dtype=torch.bool, device=member.device)
    masked[[index for index in member.visual_ids if index < support]] = True
    return [logits.masked_fill(masked, -torch.inf) for logits in response_logits(member, encoded, support)]


def response_logits(member: Member, encoded: Encoded, support: int) -> list[Tensor]:
    """One forward pass; the head runs from the first response column on, and rows of padding are cut off."""
    width = encoded.inputs["input_ids"].shape[1]
    begin = min(encoded.first)
    kept = torch.arange(begin, width - 1, device=member.device)
    logits = member.model(**encoded.inputs, logits_to_keep=kept, use_cache=False).logits
    spans = zip(encoded.first, encoded.lengths, strict=True)
    return [logits[row, first - begin : first - begin + n, :support] for row, (first, n) in enumerate(spans)]
