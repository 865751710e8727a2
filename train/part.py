"""A micro-batch: the responses of one pass of the student, and what is known of their tokens before it."""

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from geometry import TextView, Thresholds
from train.grpo import Sampled
from vlm.responses.scored_batch import ScoredBatch


@dataclass(frozen=True)
class Part(ScoredBatch):
    """Some responses of an update; all tensors have one row, or number, for each of their tokens."""

    thresholds: Thresholds
    vds: Tensor | None = None
    """In nats; None where it was not needed before the loss."""
    advantages: Tensor | None = None
    sampled: Sampled | None = None
    prior: TextView | None = None
    """Of the student before training, where the visual target holds its prior fixed."""
    suppressed: Tensor | None = None
    """Weights in a loss that suppresses improbable tokens."""

    def part(self, responses: slice, tokens: slice) -> Self:
        """Return some responses, whose tokens are named too."""

        def own(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[tokens]

        return replace(
            super().part(responses, tokens),
            vds=own(self.vds),
            advantages=own(self.advantages),
            sampled=None if self.sampled is None else self.sampled.of_tokens(tokens),
            prior=None if self.prior is None else self.prior[tokens],
            suppressed=own(self.suppressed),
        )
