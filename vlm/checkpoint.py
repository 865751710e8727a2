"""Load one checkpoint: a model, the processor it renders with, and what identifies its weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
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

from vlm.adapter_folders import Source, merged, source_fingerprint
from vlm.configs import n_wanted, readable
from vlm.families import parameter_groups, train_only, visual_token_ids
from vlm.places import CheckpointError, Place, first_line
from vlm.processors import load_processor
from vlm.setup_fingerprint import setup_fingerprint
from vlm.weights import (
    n_held,
    refuse_differing,
    refuse_larger,
    refuse_not_finite,
    tensors_fingerprint,
    weight_files,
)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


@dataclass(frozen=True)
class LoadedModel:
    """One model of the pair, in eval mode, with the processor it renders with.

    name: hub id with the revision that was asked for, or the last two parts of the folder.
    fingerprint: sha256 over the weight files.
    commit: of a hub id.
    notes: what a reader of a record should know of it.
    most_ids: ids from it on are neither drawn nor scored; None for all of the tokenizer's.
    """

    name: str
    model: PreTrainedModel
    processor: ProcessorMixin
    fingerprint: str
    commit: str | None = None
    notes: tuple[str, ...] = ()
    most_ids: int | None = None

    def describe(self) -> dict[str, Any]:
        """What identifies the model in a record."""
        described = {"name": self.name, "fingerprint": self.fingerprint, "setup": self.setup}
        described |= {} if self.commit is None else {"commit": self.commit}
        return described | {"dtype": str(self.model.dtype)[6:]}

    @cached_property
    def setup(self) -> str:
        """The fingerprint of all but the weights that a number depends on."""
        return setup_fingerprint(self.model.config, self.processor, self.end_ids)

    @cached_property
    def visual_ids(self) -> tuple[int, ...]:
        return visual_token_ids(self.model.config, self.processor.tokenizer)

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """Ids that end a response."""
        return _end_ids(self.model.generation_config.eos_token_id, self.processor)

    @cached_property
    def n_ids(self) -> int:
        """Ids below it are tokens of the tokenizer and rows of the head."""
        rows = int(self.model.get_output_embeddings().weight.shape[0])
        own = min(max(self.processor.tokenizer.get_vocab().values()) + 1, rows)
        return own if self.most_ids is None else min(own, self.most_ids)

    @cached_property
    def banned_ids(self) -> tuple[int, ...]:
        """Ids that sampling must never draw: those of pictures, and the head's rows beyond `n_ids`."""
        rows = int(self.model.get_output_embeddings().weight.shape[0])
        return tuple(sorted({*self.visual_ids, *range(self.n_ids, rows)}))

    @property
    def context(self) -> int:
        """Longest sequence of prompt and response, tokens."""
        return int(self.model.config.get_text_config().max_position_embeddings)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @cached_property
    def groups(self) -> dict[str, list[nn.Parameter]]:
        return parameter_groups(self.model)


def load_model(
    checkpoint: str,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    attention: str = "sdpa",
    parameters: str | None = None,
) -> LoadedModel:
    """Load one checkpoint in eval mode.

    parameters: a regular expression; parameters whose names it does not find are frozen, and so not measured.
    """
    if dtype not in DTYPES:
        raise CheckpointError(f"`dtype` must be one of {', '.join(DTYPES)}, got {dtype!r}")
    _check_device(device)
    source = readable(checkpoint)
    model = _read_model(source.base, DTYPES[dtype], attention)
    if source.is_adapter:
        model = merged(model, source.place)
    processor = _read_processor(source)
    model.generation_config = GenerationConfig(
        eos_token_id=model.generation_config.eos_token_id or processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    model.eval().to(device)
    refuse_not_finite(source.place.asked, model)
    if parameters is not None:
        _train_only(model, parameters)
    place = source.place
    return LoadedModel(place.name, model, processor, source_fingerprint(source), place.commit, source.notes)


def fingerprints(checkpoint: str) -> tuple[str, str]:
    """Return what `fingerprint` and `setup` of a loaded checkpoint would be, without building the model."""
    source = readable(checkpoint)
    processor = _read_processor(source)
    config = AutoConfig.from_pretrained(source.base.folder, trust_remote_code=False)
    written = source.base.read("generation_config.json").get("eos_token_id")
    ids = _end_ids(written, processor)
    return source_fingerprint(source), setup_fingerprint(config, processor, ids)


def model_in_memory(model: nn.Module, processor: ProcessorMixin, name: str = "model in memory") -> LoadedModel:
    """Return a model that is loaded already, put into eval mode.

    Its fingerprint is taken over the names and bytes of its parameters and saved buffers.

    Raises:
        CheckpointError: it is none of transformers' models, its weights are not finite, or its processor has no chat
            template.
    """
    if not isinstance(model, PreTrainedModel):
        raise CheckpointError(f"`model` must be a transformers model, got {type(model).__name__}; unwrap it")
    if not getattr(processor, "chat_template", None):
        raise CheckpointError("`processor` must have a chat template; only chat models have two views")
    processor.tokenizer.pad_token = processor.tokenizer.pad_token or processor.tokenizer.eos_token
    refuse_not_finite(name, model)
    return LoadedModel(name, model.eval(), processor, tensors_fingerprint(model))


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


def _read_model(base: Place, dtype: torch.dtype, attention: str) -> PreTrainedModel:
    held = n_held(base, weight_files(base))
    with _named(base):
        refuse_larger(base, n_wanted(base), held)
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            base.folder,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # refused below, by their names
            output_loading_info=True,
        )
    model, met = loaded
    refuse_differing(base, met)
    return model


def _read_processor(source: Source) -> ProcessorMixin:
    place = source.processor_place
    with _named(place):
        processor: Any = load_processor(place.folder, model_type=source.base.read("config.json").get("model_type"))
    if not processor.chat_template:
        raise CheckpointError(f"`checkpoint` {place.asked} has no chat template; only chat models have two views")
    processor.tokenizer.pad_token = processor.tokenizer.pad_token or processor.tokenizer.eos_token
    return processor


@contextmanager
def _named(place: Place) -> Iterator[None]:
    """Say of an error of transformers which checkpoint it is about."""
    try:
        yield
    except CheckpointError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError) as error:
        raise CheckpointError(f"`checkpoint` {place.asked} cannot be loaded: {first_line(error)}") from None


def _end_ids(stated: Any, processor: ProcessorMixin) -> tuple[int, ...]:
    """Those that the settings of generation state and the tokenizer's own."""
    listed = list(stated) if isinstance(stated, (list, tuple)) else [stated]
    return tuple(sorted({int(i) for i in (*listed, processor.tokenizer.eos_token_id) if i is not None}))


def quiet() -> None:
    """Keep transformers' own bars and notices off the terminal; downloads show theirs."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # of the hub's client, too
    if huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS is not True:
        huggingface_hub.utils.enable_progress_bars()


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"`device` {device!r} cannot be used ({first_line(error)}); try cpu") from None


def check_vision(checkpoint: str) -> None:
    """Refuse what is no checkpoint, or one that reads no images, before anything large is loaded."""
    readable(checkpoint)
