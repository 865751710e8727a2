"""The frozen language prior: the text view of the student before training, for a visual target that holds it fixed.

With adapters it is the student without them. Otherwise it is another copy of the student, which waits on the CPU
while the student trains on an accelerator.
"""

from dataclasses import dataclass, replace

import torch
from accelerate import cpu_offload

from geometry import TextView
from train.adapters import Adapters, taken_off
from train.config import Config
from train.models import load_trained
from train.rollouts import MicroBatch
from vlm.checkpoints.loaded_model import LoadedModel
from vlm.checkpoints.pair import Pair
from vlm.responses.output_layer import head_of
from vlm.responses.scoring import view_hidden


@dataclass(frozen=True)
class FrozenPrior:
    """The student before training, over the first `n_ids` ids; under its adapters, if it is the one that trains."""

    student: LoadedModel
    n_ids: int

    @torch.no_grad()
    def text_view(self, responses: MicroBatch) -> TextView:
        """Return its text view of some responses; a prompt without a picture has the view that it has."""
        with taken_off(self.student.model):
            hidden = view_hidden(
                self.student, [one.text_view for one in responses], [one.rollout.token_ids for one in responses]
            )
            return TextView(torch.cat(hidden), head_of(self.student, self.n_ids))


def frozen_prior(config: Config, pair: Pair, adapters: Adapters | None) -> FrozenPrior | None:
    """Return the prior that the objective needs; None where it needs none.

    Raises:
        CheckpointError: the first student cannot be loaded once more.
    """
    if not config.training_objective.needs_prior:
        return None
    if adapters is not None:
        return FrozenPrior(pair.student, pair.n_ids)
    device = pair.student.device
    first = load_trained(config, config.student, "cpu", config.precision)
    first.model.requires_grad_(False)
    if device.type != "cpu":
        cpu_offload(first.model, execution_device=device)
        first = replace(first, runs_on=device)
    return FrozenPrior(first, pair.n_ids)
