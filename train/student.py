"""What of the student is trained, and how it runs: frozen vision, adapters, gradient checkpointing."""

from dataclasses import replace

from train.activation_checkpointing import checkpoint_activations
from train.adapters import Adapters, add_adapters
from train.config import Config
from vlm.families import scopes
from vlm.pair import Pair


def made_ready(pair: Pair, config: Config) -> tuple[Pair, Adapters | None]:
    """Return a loaded pair whose student is to be trained as `config` says, and its adapters if it has any.

    Raises:
        OptionError: adapters that cannot be made.
        CheckpointError: a model without layers that can run again.
    """
    adapters = None
    if config.lora_rank:
        adapters = add_adapters(pair.student, config)
        pair = replace(pair, student=replace(pair.student))  # which parameters it has is read anew
    if config.freeze_vision:
        _freeze_vision(pair)
    if config.gradient_checkpointing:
        checkpoint_activations(pair.student.model)
    return pair, adapters


def _freeze_vision(pair: Pair) -> None:
    groups = pair.student.groups
    language = set(scopes(groups)["language_model"])
    for name, members in groups.items():
        for parameter in members:
            parameter.requires_grad_(name in language)
