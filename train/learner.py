"""The student, its teacher and optimizer as an update needs them, and what processes share."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from geometry import LMHead
from records.journal_lines import PHASES
from train.adapters import Adapters
from train.config import Config
from train.prior import FrozenPrior
from train.sharding import Sharding, whole_optimizer, whole_weights
from train.weight_average import WeightAverage
from vlm.checkpoints.loaded_model import LoadedModel
from vlm.checkpoints.pair import Pair
from vlm.responses.halving import Batches
from vlm.responses.output_layer import head_of
from vlm.responses.picture_features import PictureFeatures
from vlm.responses.rollouts import Rollout


@dataclass(frozen=True)
class State:
    """What a checkpoint holds, without shards."""

    weights: dict[str, Tensor] | None
    """By name; None for the model's own."""
    optimizer: Mapping[str, Any]
    adapters: Mapping[str, Any] | None = None
    average: Mapping[str, Any] | None = None
    """The mean of the last weights."""


@dataclass(frozen=True)
class Learner:
    """The models, flags and optimizer that an update acts on."""

    pair: Pair
    config: Config
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    offline: Mapping[str, Sequence[Rollout]] | None = None
    """Responses by prompt that are read from a file; None where they are sampled."""
    sharding: Sharding | None = None
    """Shards of the student; None where each process has it whole."""
    adapters: Adapters | None = None
    """Adapters of the student; None where its weights are trained."""
    prior: FrozenPrior | None = None
    """The student before training, where the visual target holds its prior fixed."""
    weight_average: WeightAverage | None = None
    """The mean of the last weights, if one is asked for."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The trained parameters; for a model in shards the optimizer's, as the model has others while gathered."""
        if self.sharding is not None:
            return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        return [p for p in self.pair.student.model.parameters() if p.requires_grad]

    def whole(self) -> AbstractContextManager[None]:
        """Return a context in which each process has the whole student, without gradients."""
        return nullcontext() if self.sharding is None else self.sharding.whole()

    def state(self) -> State:
        """Return what a checkpoint holds; of shards the main process alone, though all processes must call it."""
        model, optimizer, kept = self.pair.student.model, self.optimizer, self.accelerator.is_main_process
        if self.sharding is not None:
            return State(whole_weights(model, kept=kept), whole_optimizer(optimizer, kept=kept))
        average = None if self.weight_average is None else self.weight_average.state()
        if self.adapters is not None:
            return State(self.adapters.merged(), optimizer.state_dict(), self.adapters.state(), average)
        return State(None, optimizer.state_dict(), average=average)

    @cached_property
    def micro_batches(self) -> Batches:
        """How many responses are in a pass; fewer from where memory has run out, unless the result would change.

        Processes with shards of one student run the same passes, and quantiles of a micro-batch depend on what is in
        it. Other processes meet before and after their passes alone.
        """
        fixed = ""
        if self.sharding is not None:
            fixed = "it is not halved for a student in shards, whose processes run the same passes"
        elif self.config.quantile_scope == "micro-batch":
            fixed = "the quantiles of `quantile_scope` micro-batch depend on it"
        return Batches(self.config.micro_batch, "micro_batch", fixed)

    @cached_property
    def passes(self) -> Batches:
        """How many responses are in a pass whose result depends on no other response, and for which no process waits.

        Fewer from where memory has run out, in any number of processes: in evaluation, in measurements of the gradients
        and before the updates of a step.
        """
        return Batches(self.config.micro_batch, "micro_batch")

    def picture_features(self, loaded: LoadedModel) -> PictureFeatures | None:
        """Return what shares pictures among the responses to a prompt in a step; None where each has a prompt alone."""
        if self.config.group_size == 1 or (self.sharding is not None and loaded is self.pair.student):
            return None
        return PictureFeatures(loaded)

    def teacher_precision(self) -> AbstractContextManager[Any]:
        """Return the context in which the teacher runs: autocast as the student's, unless it has a dtype of its own."""
        if self.config.teacher_dtype is None:
            return self.accelerator.autocast()
        return torch.autocast(self.pair.teacher.device.type, enabled=False)

    @cached_property
    def teacher_head(self) -> LMHead:
        """The teacher's head where the loss is: its own weights, or a copy of weights that are elsewhere."""
        teacher = self.pair.teacher
        return head_of(teacher, self.pair.n_ids).to(teacher.hands_to or teacher.device)

    @property
    def part(self) -> tuple[int, int]:
        """Rank and number of processes."""
        return self.accelerator.process_index, self.accelerator.num_processes


@dataclass
class Stopwatch:
    """Seconds by phase, for each of `PHASES`."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time in this context to a phase."""
        began = self._now()
        yield
        self.seconds[name] += self._now() - began

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def most(accelerator: Accelerator, number: int) -> int:
    """Return the greatest of the processes' numbers."""
    return int(accelerator.gather(torch.tensor([number], device=accelerator.device)).max())


def gather_rows(accelerator: Accelerator, rows: Tensor) -> Tensor:
    """Return the rows `[n, k]` of all processes, joined; n may differ between processes."""
    if accelerator.num_processes == 1:
        return rows
    marked = torch.cat([torch.ones_like(rows[:, :1]), rows], dim=1)
    marked = accelerator.gather(accelerator.pad_across_processes(marked, dim=0))
    return marked[marked[:, 0] == 1.0][:, 1:]
