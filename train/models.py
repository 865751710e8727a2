"""The pair of a run, each model where the flags place it: the student as it is to be trained, its teacher frozen.

The student's weights are float32 whatever it runs in. The teacher may be held in another dtype than the student runs
in, on another device, or over several. Only its hidden states travel; the loss takes a copy of its head along, see
`train.teacher`.
"""

from dataclasses import replace
from typing import Any

from cli import processes
from cli.errors import OptionError
from train.activation_checkpointing import checkpoint_activations
from train.adapters import Adapters, add_adapters
from train.config import Config
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.checkpoints.devices import device_of
from vlm.checkpoints.pair import Pair, load_student, load_teacher, pair_of, teacher_named
from vlm.checkpoints.precision import checked_dtype
from vlm.families import scopes


def refuse_places(config: Config) -> None:
    """Refuse a teacher that cannot be where or in what the flags say, before anything large is loaded.

    Raises:
        OptionError: several processes are told to share what one of them takes.
        CheckpointError: the device is not there, or bitsandbytes is missing.
    """
    if config.teacher_dtype is not None:
        checked_dtype(config.teacher_dtype, "teacher_dtype")
    several = processes.count() > 1
    if several and config.device_map is not None:
        raise OptionError(
            "`device_map` lays the teacher over all accelerators, and each process has its own; leave it out, or start"
            " one process"
        )
    if config.teacher_device is None:
        return
    if several and ":" in config.teacher_device:
        raise OptionError(
            f"`teacher_device` must name no number, for each process has its own device, got {config.teacher_device};"
            " give cpu or leave it out"
        )
    device_of(config.teacher_device, "teacher_device")


def load_models(config: Config, device: str) -> Pair:
    """Load the student onto a device, and the teacher to where the flags say.

    Raises:
        CheckpointError: a checkpoint cannot be used, or the two do not fit each other.
    """
    named = teacher_named(config.student, config.teacher)  # refuses before anything large is read
    student = load_trained(config, config.student, device)
    teacher = load_teacher(
        named,
        dtype=config.teacher_dtype or config.precision,
        device=config.teacher_device or device,
        attention=config.attention,
        spread=config.device_map is not None,
    )
    return pair_of(student, teacher)


def load_trained(config: Config, checkpoint: str, device: str, dtype: str = "float32") -> LoadedModel:
    """Load a checkpoint to be trained, such as the last one of the run; `dtype` is that of its weights.

    Raises:
        CheckpointError: it cannot be used.
    """
    settings: dict[str, Any] = {"dtype": dtype, "device": device, "attention": config.attention}
    return load_student(checkpoint, **settings)


def prepare_student(pair: Pair, config: Config) -> tuple[Pair, Adapters | None]:
    """Return the pair with its student as `config` trains it, and the student's adapters if it has any.

    Raises:
        OptionError: the adapters cannot be made.
        CheckpointError: no layer of the student can run again in the backward pass.
    """
    adapters = None
    if config.lora_rank:
        adapters = add_adapters(pair.student, config)
        pair = replace(pair, student=replace(pair.student))  # a new object, so that its parameters are listed again
    if config.freeze_vision:
        _freeze_vision(pair)
    if config.gradient_checkpointing:
        checkpoint_activations(pair.student.model)
    return pair, adapters


def _freeze_vision(pair: Pair) -> None:
    groups = pair.student.groups
    language = set(scopes(groups)["language_model"])
    for name, parameters in groups.items():
        for parameter in parameters:
            parameter.requires_grad_(name in language)
