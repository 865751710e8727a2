"""The moments of a transformers trainer, or of one of TRL's, at which something is measured."""

from abc import ABC, abstractmethod
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class TrainerEvents(TrainerCallback, ABC):
    """A callback that is told the number of updates so far; only the main process is.

    What its methods return is added to the trainer's `log_history`, unless it is empty.
    """

    @abstractmethod
    def begin(self, step: int) -> dict[str, float]:
        """Training begins, or goes on from a checkpoint, after `step` updates."""

    @abstractmethod
    def step(self, step: int) -> dict[str, float]:
        """There have been `step` updates, the last of them just now."""

    @abstractmethod
    def end(self, step: int) -> dict[str, float]:
        """Training ends after `step` updates."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Tell that training begins."""
        _add(state, self.begin)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Tell that there was an update."""
        _add(state, self.step)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Tell that training ends."""
        _add(state, self.end)


def _add(state: TrainerState, measure: Any) -> None:
    if not state.is_world_process_zero:
        return
    if values := measure(state.global_step):
        state.log_history.append({**values, "step": state.global_step})
