"""Responses with what the teacher makes of them: kept, so that a student is measured on them again and again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Self

import torch
from torch import Tensor

from geometry import FourViews, HiddenViews, TokenScores, token_scores, token_shares
from geometry.lm_head import chunks, cuts
from vlm.checkpoints.pair import Pair
from vlm.responses.halving import Batches
from vlm.responses.output_layer import head_of
from vlm.responses.response import Response, both_views


@dataclass(frozen=True)
class ScoredBatch:
    """Some responses; all tensors have one row, or number, for each of their tokens, one response after the other."""

    responses: Sequence[Response]
    teacher: HiddenViews
    shares: Tensor
    """Weight of each token in a mean over the batch, `[T]`."""

    def cut(self, size: int) -> list[Self]:
        """Return parts of at most `size` responses, in order."""
        return [self.some(rows) for rows in cuts(len(self.responses), size)]

    def some(self, responses: slice) -> Self:
        """Return a part of neighbouring responses."""
        ends = [0, *accumulate(response.n_tokens for response in self.responses)]
        return self.part(responses, slice(ends[responses.start], ends[responses.stop]))

    def part(self, responses: slice, tokens: slice) -> Self:
        """Return some responses, whose tokens are named too."""
        teacher = replace(self.teacher, image=self.teacher.image[tokens], text=self.teacher.text[tokens])
        return replace(self, responses=self.responses[responses], teacher=teacher, shares=self.shares[tokens])


@torch.no_grad()
def scored_batch(pair: Pair, responses: Sequence[Response], passes: Batches) -> ScoredBatch:
    """Run the teacher on both views of responses; its hidden states are kept on the CPU.

    Each token weighs as in the mean over responses of the mean over their tokens.

    passes: how many responses are in a forward pass; halved where memory runs out.

    Raises:
        TooLargeError: not even one response fits into memory.
    """
    teacher = pair.teacher
    work = passes.over(len(responses), lambda rows: both_views(teacher, responses[rows], pair.n_ids).to("cpu"))
    views = [run for _, run in work]
    image, text = (torch.cat([getattr(run, view) for run in views]) for view in ("image", "text"))
    head = head_of(teacher, pair.n_ids).to(teacher.hands_to or teacher.device)
    dtype = torch.promote_types(pair.student.dtype, torch.float32)
    shares = token_shares([response.n_tokens for response in responses]).to(pair.student.device, dtype)
    return ScoredBatch(responses, HiddenViews(image, text, head), shares)


@torch.no_grad()
def batch_scores(pair: Pair, batch: ScoredBatch, passes: Batches) -> TokenScores:
    """Return the divergences and the entropy of all tokens under the student's present weights, `[T]`, in nats."""
    work = passes.over(len(batch.responses), lambda rows: _scores(pair, batch.some(rows)))
    return TokenScores.joined([scores for _, scores in work])


def _scores(pair: Pair, part: ScoredBatch) -> TokenScores:
    student = both_views(pair.student, part.responses, pair.n_ids)
    teacher = part.teacher.to(student.image.device)
    rows = chunks(len(student.image), pair.n_ids)
    return TokenScores.joined([token_scores(FourViews(*student.logits(r), *teacher.logits(r))) for r in rows])
