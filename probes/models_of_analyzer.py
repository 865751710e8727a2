"""The models of an analyzer: a student, its teacher and the metric of gradients, loaded when they are first used."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

from torch import Tensor, nn

from cli.errors import OptionError
from cli.visible import print_err
from probes.settings import PromptOptions
from probes.settings_of_analyzer import Settings
from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel
from vlm.checkpoints.foreign import naming
from vlm.checkpoints.optimizer_state import AdamMetric, adam_metric_of, state_file
from vlm.checkpoints.pair import Pair, load_student, load_teacher, pair_of, teacher_named
from vlm.checkpoints.turns import taking_turns
from vlm.families import parameter_kinds
from vlm.responses.response_length import default_length, default_length_of

IN_MEMORY = "in memory"


class Models(Settings):
    """A student and its teacher, over the ids that both hold.

    seconds: how long each phase took.
    weights_seen: the weights' versions after the last measurement.
    """

    seconds: dict[str, float]
    weights_seen: list[int] | None

    @cached_property
    def prompt_options(self) -> PromptOptions:
        """The prompts and rollouts, `max_response` being that of the student where none was asked for."""
        stated = self.stated_prompt_options
        if stated.max_response is not None:
            return stated
        in_memory = self.checkpoint == IN_MEMORY
        n = default_length(self.student.context) if in_memory else default_length_of(self.checkpoint)
        return replace(stated, max_response=n)

    @cached_property
    def pair(self) -> Pair:
        """The student and its teacher, over the ids that both hold."""
        with self.phase("loading"):
            if "teacher" not in self.__dict__:
                teacher_named(self.checkpoint, self.pair_options.teacher)  # refuses before anything large is read
            pair = pair_of(self._loaded_student, self.teacher)
            pair = taking_turns(pair) if self.pair_options.offload else pair
        for warning in pair.warnings:
            print_err(f"note: {warning}")
        return pair

    @cached_property
    def teacher(self) -> LoadedModel:
        """The teacher, frozen in a pair."""
        asked, settled = self.pair_options, self.settled_options
        return load_teacher(
            teacher_named(self.checkpoint, asked.teacher),
            dtype=settled.teacher_dtype or settled.dtype,
            device="cpu" if asked.offload else asked.teacher_device or asked.device,
            attention=asked.attention,
            spread=asked.device_map is not None,
        )

    @property
    def student(self) -> LoadedModel:
        """The student; alone, where the teacher has not been needed so far."""
        return self.pair.student if "pair" in self.__dict__ else self._loaded_student

    @property
    def running(self) -> str:
        """Return a line about the models that are loaded: dtype, attention and device; empty where none is."""
        if "pair" in self.__dict__:
            return f"models: student {self.pair.student.running}; teacher {self.pair.teacher.running}"
        return f"model: {self._loaded_student.running}" if "_loaded_student" in self.__dict__ else ""

    @cached_property
    def metric(self) -> AdamMetric | None:
        """The metric in which gradients are multiplied; None for the plain one."""
        if self.metric_options.metric == "plain":
            return None
        state = state_file(self.checkpoint, self.metric_options.optimizer_state)
        student = self.pair.student.model
        way_out = "give the state that the optimizer saved"
        with naming(str(state), "is no state of Adam", way_out, argument="optimizer_state"):
            return adam_metric_of(student, state)

    @cached_property
    def kinds(self) -> dict[str, list[nn.Parameter]]:
        """The student's parameters by depth and kind."""
        return parameter_kinds(self.pair.student.model)

    @property
    def metric_factors(self) -> Mapping[nn.Parameter, Tensor] | None:
        """The metric as `geometry` takes it."""
        return None if self.metric is None else self.metric.factors

    def weight_versions(self) -> list[int] | None:
        """Return how often each weight of the pair has been written to; None where no pair is loaded."""
        if "pair" not in self.__dict__:
            return None
        weights = [weight for loaded in self.pair.models for weight in loaded.model.parameters()]
        return [0 if weight.is_inference() else weight._version for weight in weights]

    def refuse_changed_weights(self) -> None:
        """Refuse to measure weights that were written to since responses were sampled and scored."""
        if self.weights_seen is not None and self.weights_seen != self.weight_versions():
            raise OptionError(
                "`student` and `teacher` must stay as they were, but weights changed; make another analyzer"
            )

    @contextmanager
    def named(self, argument: str) -> Iterator[None]:
        """Say in errors of loading which of several checkpoints does not fit."""
        try:
            yield
        except CheckpointError as error:
            raise CheckpointError(f"`{argument}` {self.checkpoint} does not fit the first: {error}") from None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the seconds that a part takes to `seconds`."""
        began = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    @cached_property
    def _loaded_student(self) -> LoadedModel:
        asked = self.pair_options
        return load_student(
            self.checkpoint,
            dtype=self.settled_options.dtype,
            device=asked.device,
            attention=asked.attention,
            parameters=asked.parameters,
        )
