"""The config of a checkpoint, looked at before anything large is loaded."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from vlm.checkpoints.adapter_folders import Source, source_of
from vlm.checkpoints.config_check import refuse_impossible
from vlm.checkpoints.foreign import naming
from vlm.checkpoints.places import CheckpointError, Place
from vlm.checkpoints.two_views import refuse_encoder

_MOST_PACKED = 32  # weights of a bit in whole numbers of 32


def readable(checkpoint: str) -> Source:
    """Return what a checkpoint is read from, if its config is of a model that reads images and text.

    Raises:
        CheckpointError: there is none, it is of a text-only model, or a part of it is null.
    """
    source = source_of(checkpoint)
    asked, base = source.place.asked, source.base
    if not base.holds("config.json"):
        raise CheckpointError(f"`checkpoint` {asked} is neither a checkpoint folder nor on the hub: no config.json")
    refuse_impossible(asked, base.read("config.json"))
    with naming(asked):
        config = AutoConfig.from_pretrained(base.folder, trust_remote_code=False)
        if config.model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
            raise CheckpointError(
                f"`checkpoint` {asked} must read images and text, but {config.model_type} is text-only; choose another"
            )
        refuse_encoder(asked, config)
    base.read("generation_config.json")  # transformers passes over one that is broken
    if empty := _replaced_by_default(base.read("config.json"), config):
        raise CheckpointError(
            f"`checkpoint` {asked} has no {empty} in its config.json, so a model of another size would be built;"
            " give the config that it was saved with"
        )
    return source


def _replaced_by_default(written: dict[str, Any], config: PreTrainedConfig) -> str | None:
    """The first part of a config that is written as null and that its class fills with its own default."""
    for name, value in written.items():
        part = vars(config).get(name)
        if isinstance(part, PreTrainedConfig):
            if value is None:
                return name
            if isinstance(value, dict) and (inner := _replaced_by_default(value, part)):
                return f"{name}.{inner}"
    return None


def context_of(checkpoint: str) -> int:
    """Return the longest sequence of prompt and response that a checkpoint states, tokens; no weights are read.

    Raises:
        CheckpointError: it is no checkpoint that reads pictures.
    """
    config = AutoConfig.from_pretrained(readable(checkpoint).base.folder, trust_remote_code=False)
    return int(config.get_text_config().max_position_embeddings)


def n_wanted(base: Place) -> int:
    """Return the number of parameters of the config's model, without building it.

    Of packed weights it is divided by the most that one held number stands for.
    """
    config = AutoConfig.from_pretrained(base.folder, trust_remote_code=False)
    packed = getattr(config, "quantization_config", None) is not None
    with torch.device("meta"):
        shapes = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    return sum(parameter.numel() for parameter in shapes.parameters()) // (_MOST_PACKED if packed else 1)
