"""Load one checkpoint: a model, the processor it renders with, and what identifies its weights."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import huggingface_hub
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.utils import logging

from vlm.checkpoints.adapter_folders import Source, merged, source_fingerprint
from vlm.checkpoints.attention import refuse_unusable_attention
from vlm.checkpoints.configs import n_wanted, readable
from vlm.checkpoints.devices import AUTO, device_of
from vlm.checkpoints.foreign import naming
from vlm.checkpoints.loaded_model import LoadedModel, all_end_ids
from vlm.checkpoints.places import CheckpointError
from vlm.checkpoints.precision import DTYPES, QUANTISED, checked_dtype, quantisation, settled_dtype
from vlm.checkpoints.processors import complete, load_processor
from vlm.checkpoints.setup_fingerprint import setup_fingerprint
from vlm.checkpoints.threads import choose_threads
from vlm.checkpoints.two_views import refuse_misfit, refuse_one_view
from vlm.checkpoints.waiting import reading
from vlm.checkpoints.weights import (
    n_held,
    refuse_differing,
    refuse_larger,
    refuse_not_finite,
    tensors_fingerprint,
    weight_files,
)
from vlm.families import train_only


def load_model(
    checkpoint: str,
    *,
    dtype: str = AUTO,
    device: str = AUTO,
    attention: str = "sdpa",
    parameters: str | None = None,
    spread: bool = False,
) -> LoadedModel:
    """Load one checkpoint in eval mode.

    Args:
        dtype: of the weights, or auto; see `vlm.checkpoints.precision`.
        device: where the model runs, or auto; see `vlm.checkpoints.devices`.
        attention: its implementation, by transformers' name.
        parameters: a regular expression; parameters whose names it does not find are frozen, and so not measured.
        spread: lay the layers over all accelerators, and over the CPU where these are full, in place of one device.

    Raises:
        CheckpointError: what was asked for cannot be loaded, or not in this way.
    """
    checked_dtype(dtype)
    refuse_unusable_attention(attention)
    place, source = device_of(device), readable(checkpoint)
    dtype = settled_dtype(dtype, place, lambda: source.base)
    model = _read_model(source, dtype, attention, _laid_out(place, dtype, spread))
    processor = _read_processor(source)
    with naming(source.place.asked):
        model.generation_config = GenerationConfig(
            eos_token_id=model.generation_config.eos_token_id or processor.tokenizer.eos_token_id,
            pad_token_id=processor.tokenizer.pad_token_id,
        )
        model.eval()
        choose_threads(model)
    if not getattr(model, "hf_device_map", None):
        nn.Module.to(model, place)
    refuse_not_finite(source.place.asked, model)
    with naming(source.place.asked, "cannot read a prompt"):
        refuse_one_view(source.place.asked, model, processor)
        refuse_misfit(source.place.asked, model, processor)
    if parameters is not None:
        _train_only(model, parameters)
    identity = source_fingerprint(source), source.place.commit, source.notes
    loaded = LoadedModel(
        source.place.name, model, processor, *identity, quantised=dtype if dtype in QUANTISED else None
    )
    with naming(source.place.asked, "cannot be described"):
        _ = loaded.setup, loaded.context, loaded.end_ids, loaded.visual_ids
    return loaded


def fingerprints(checkpoint: str) -> tuple[str, str]:
    """Return what `fingerprint` and `setup` of a loaded checkpoint would be, without building the model."""
    source = readable(checkpoint)
    processor = _read_processor(source)
    with naming(source.place.asked, "cannot be described"):
        config = AutoConfig.from_pretrained(source.base.folder, trust_remote_code=False)
        ids = all_end_ids(source.base.read("generation_config.json").get("eos_token_id"), processor)
        return source_fingerprint(source), setup_fingerprint(config, processor, ids)


def processor_of(checkpoint: str) -> ProcessorMixin:
    """Return what a checkpoint renders prompts with; its weights are not read."""
    return _read_processor(readable(checkpoint))


def model_in_memory(model: nn.Module, processor: ProcessorMixin, name: str = "model in memory") -> LoadedModel:
    """Return a model that is loaded already, put into eval mode.

    Its fingerprint is taken over the names and bytes of its parameters and saved buffers.

    Raises:
        CheckpointError: it is none of transformers' models, its weights are not finite, its processor has no chat
            template, it has no two views, or it fails on a picture.
    """
    if not isinstance(model, PreTrainedModel):
        raise CheckpointError(f"`model` must be a transformers model, got {type(model).__name__}; unwrap it")
    complete(processor)
    if not processor.chat_template:
        raise CheckpointError("`processor` must have a chat template; only chat models have two views")
    refuse_not_finite(name, model)
    refuse_one_view(name, model, processor)
    model.eval().set_experts_implementation("eager")
    refuse_misfit(name, model, processor)
    return LoadedModel(name, model, processor, tensors_fingerprint(model))


def in_precision(loaded: LoadedModel, dtype: str) -> LoadedModel:
    """Return a copy of a model in another dtype."""
    model = deepcopy(loaded.model)
    nn.Module.to(model, DTYPES[dtype])
    return replace(loaded, model=model)


def _train_only(model: nn.Module, parameters: str) -> None:
    try:
        train_only(model, parameters)
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def _laid_out(place: torch.device, dtype: str, spread: bool) -> dict[str, Any]:
    """What `from_pretrained` is told of devices: nothing for a model that is moved to one when it is whole."""
    if spread:
        return {"device_map": "auto"}
    return {"device_map": {"": place}} if dtype in QUANTISED else {}


def _read_model(source: Source, dtype: str, attention: str, laid_out: dict[str, Any]) -> PreTrainedModel:
    base, files = source.base, weight_files(source.base)
    held = n_held(base, files)
    if source.is_adapter and (dtype in QUANTISED or laid_out):
        raise CheckpointError(
            f"`checkpoint` {source.place.asked} is an adapter, which is merged into whole weights on one device; leave"
            " out int8, nf4 and device_map, or merge it first"
        )
    with naming(base.asked), reading(base.name, base.folder, files):
        refuse_larger(base, n_wanted(base), held)
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            base.folder,
            attn_implementation=attention,
            experts_implementation="eager",  # fused experts have neither float64 nor forward mode
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # refused below, by their names
            output_loading_info=True,
            **quantisation(dtype),
            **laid_out,
        )
    model, met = loaded
    refuse_differing(base, met)
    return merged(model, source.place) if source.is_adapter else model


def _read_processor(source: Source) -> ProcessorMixin:
    place = source.processor_place
    with naming(place.asked):
        processor: Any = load_processor(place.folder, model_type=source.base.read("config.json").get("model_type"))
    if not processor.chat_template:
        raise CheckpointError(f"`checkpoint` {place.asked} has no chat template; only chat models have two views")
    return processor


def quiet() -> None:
    """Keep transformers' own bars and notices off the terminal; downloads show theirs."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # of the hub's client, too
    if huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS is not True:
        huggingface_hub.utils.enable_progress_bars()


def check_vision(checkpoint: str) -> None:
    """Refuse what is no checkpoint, or one that reads no images, before anything large is loaded."""
    readable(checkpoint)
