"""The settings of an analyzer, by group."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from functools import cached_property
from typing import Any

import torch

from cli.errors import OptionError
from cli.options import checked
from probes.settings import ANALYZER_OPTIONS, NO_IDENTITY, BinOptions, MetricOptions, PairOptions, PromptOptions
from vlm.checkpoints.configs import readable
from vlm.checkpoints.devices import AUTO, device_name, device_of
from vlm.checkpoints.optimizer_state import STATE, state_file
from vlm.checkpoints.pair import teacher_named
from vlm.checkpoints.places import CheckpointError
from vlm.checkpoints.precision import settled_dtype


class Settings:
    """What an analyzer was made with."""

    checkpoint: str
    _groups: dict[type[Any], Any]

    @property
    def pair_options(self) -> PairOptions:
        """The models, as they were asked for."""
        return self._groups[PairOptions]

    @cached_property
    def settled_options(self) -> PairOptions:
        """The models, each `auto` replaced by what it stands for with these checkpoints on this machine.

        The teacher's dtype is None where it is the student's, as `auto` is for a teacher on the CPU.
        """
        asked = self.pair_options
        device = teacher_device = device_of(asked.device)
        if asked.teacher_device is not None:
            teacher_device = device_of(asked.teacher_device, "teacher_device")
        dtype = _settled(asked.dtype, device, lambda: self.checkpoint)
        teacher_dtype = asked.teacher_dtype
        if teacher_dtype == AUTO and teacher_device.type == "cpu":
            teacher_dtype = None  # else a student in float64 had a teacher in float32
        elif (teacher_dtype or asked.dtype) == AUTO:
            try:
                own = _settled(AUTO, teacher_device, lambda: teacher_named(self.checkpoint, asked.teacher).checkpoint)
            except CheckpointError:  # no teacher: refused where one is needed
                own = dtype
            teacher_dtype = None if own == dtype else own
        return replace(asked, dtype=dtype, teacher_dtype=teacher_dtype, device=device_name(asked.device))

    @property
    def stated(self) -> dict[str, Any]:
        """Every setting that a record states, by name: what was settled, and nothing of where the models run."""
        groups = self._groups | {PairOptions: self.settled_options}
        every = {name: value for own in groups.values() for name, value in asdict(own).items()}
        return {name: value for name, value in every.items() if name not in NO_IDENTITY}

    @property
    def stated_prompt_options(self) -> PromptOptions:
        """The prompts and rollouts as they were asked for."""
        return self._groups[PromptOptions]

    @property
    def bin_options(self) -> BinOptions:
        """The bins."""
        return self._groups[BinOptions]

    @property
    def metric_options(self) -> MetricOptions:
        """The inner product."""
        return self._groups[MetricOptions]

    @property
    def seed(self) -> int:
        """Seed of the bundled scenes, the rollouts and the choice of probed tokens."""
        return self.stated_prompt_options.seed

    def refuse_missing_states(self, *checkpoints: str) -> None:
        """Refuse checkpoints without an optimizer's state where the metric needs one, and one state for several."""
        options, n = self.metric_options, len(checkpoints)
        if options.optimizer_state is not None and n > 1:
            raise OptionError(
                f"`optimizer_state` belongs to one checkpoint, got {n};"
                f" leave it out and put the state of each beside its weights, as {STATE}"
            )
        if options.metric == "adam":
            for checkpoint in checkpoints:
                state_file(checkpoint, options.optimizer_state)


def groups_of(options: Mapping[str, Any]) -> dict[type[Any], Any]:
    """Return the values of each group of an analyzer's options, checked.

    Raises:
        OptionError: an option is none of an analyzer's, or has a value that it does not admit.
    """
    names = {f.name for group in ANALYZER_OPTIONS for f in fields(group)}
    if unknown := sorted(set(options) - names):
        raise OptionError(f"`{unknown[0]}` is no option of an analyzer: it must be one of {', '.join(sorted(names))}")
    return {group: checked(group, options) for group in ANALYZER_OPTIONS}


def _settled(asked: str, device: torch.device, checkpoint: Callable[[], str]) -> Any:
    """A dtype that was asked for, or what auto stands for; the checkpoint is looked at where it matters alone."""
    return settled_dtype(asked, device, lambda: readable(checkpoint()).base)
