"""What an update acts on, and what it shares with the other processes."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from records.journal_lines import PHASES
from train.config import Config
from train.sharding import Sharding
from vlm.pair import Pair
from vlm.rollouts import Rollout


@dataclass(frozen=True)
class Learner:
    """What an update acts on."""

    pair: Pair
    config: Config
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    given: Mapping[str, Sequence[Rollout]] | None = None
    """Responses by prompt to train on, where they are read from a file and not sampled."""
    sharding: Sharding | None = None
    """Of the student; None where each process has it whole."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained; of a model in shards the optimizer's, for it shows others while its weights are together."""
        if self.sharding is not None:
            return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        return [p for p in self.pair.student.model.parameters() if p.requires_grad]

    def whole(self) -> AbstractContextManager[None]:
        """Have the student whole in each process, without gradients."""
        return nullcontext() if self.sharding is None else self.sharding.whole()

    @property
    def part(self) -> tuple[int, int]:
        """Rank and number of processes."""
        return self.accelerator.process_index, self.accelerator.num_processes


@dataclass
class Stopwatch:
    """Seconds by phase."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = self._now()
        yield
        self.seconds[name] += self._now() - began

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def most(accelerator: Accelerator, number: int) -> int:
    """The greatest of the processes' numbers."""
    return int(accelerator.gather(torch.tensor([number], device=accelerator.device)).max())


def gather_rows(accelerator: Accelerator, rows: Tensor) -> Tensor:
    """Join the rows `[n, k]` of all processes, each of which may have another number of them."""
    if accelerator.num_processes == 1:
        return rows
    marked = torch.cat([torch.ones_like(rows[:, :1]), rows], dim=1)
    marked = accelerator.gather(accelerator.pad_across_processes(marked, dim=0))
    return marked[marked[:, 0] == 1.0][:, 1:]
