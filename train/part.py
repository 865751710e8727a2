"""A micro-batch: the responses of one pass of the student, and what is known of their tokens before it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from torch import Tensor

from geometry import HiddenViews, TextView, Thresholds
from geometry.lm_head import cuts
from train.grpo import Sampled
from train.rollouts import Response


@dataclass(frozen=True)
class Part:
    """Some responses of an update; all tensors have one row, or number, for each of their tokens."""

    responses: Sequence[Response]
    teacher: HiddenViews
    shares: Tensor
    thresholds: Thresholds
    vds: Tensor | None = None
    """In nats; None where it was not needed before the loss."""
    advantages: Tensor | None = None
    sampled: Sampled | None = None
    prior: TextView | None = None
    """Of the student before training, where the visual target holds its prior fixed."""

    def cut(self, size: int) -> "list[Part]":
        """Return parts of at most `size` responses, in order."""
        ends = [0, *accumulate(response.n_tokens for response in self.responses)]
        return [self._of(rows, slice(ends[rows.start], ends[rows.stop])) for rows in cuts(len(self.responses), size)]

    def _of(self, responses: slice, tokens: slice) -> "Part":
        def own(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[tokens]

        return replace(
            self,
            responses=self.responses[responses],
            teacher=replace(self.teacher, image=self.teacher.image[tokens], text=self.teacher.text[tokens]),
            shares=self.shares[tokens],
            vds=own(self.vds),
            advantages=own(self.advantages),
            sampled=None if self.sampled is None else self.sampled.of_tokens(tokens),
            prior=None if self.prior is None else self.prior[tokens],
        )
