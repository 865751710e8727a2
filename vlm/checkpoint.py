"""Load one checkpoint: a model, the processor it renders with, and what identifies its weights."""

import hashlib
import os
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.utils import logging

from cli.errors import UserError
from vlm.families import parameter_groups, train_only, visual_token_ids
from vlm.names import resolve
from vlm.processors import load_processor

_WEIGHTS = "*.safetensors"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


class CheckpointError(UserError):
    """A checkpoint that cannot be loaded, or two that do not fit together; the message is one line."""


@dataclass(frozen=True)
class LoadedModel:
    """One model of the pair, in eval mode, with the processor it renders with.

    name: hub id, or the last two parts of the folder.
    fingerprint: sha256 over the weight files.
    """

    name: str
    model: PreTrainedModel
    processor: ProcessorMixin
    fingerprint: str

    @cached_property
    def visual_ids(self) -> tuple[int, ...]:
        return visual_token_ids(self.model.config, self.processor.tokenizer)

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """Ids that end a response."""
        stated = self.model.generation_config.eos_token_id
        listed = list(stated) if isinstance(stated, (list, tuple)) else [stated]
        own = self.processor.tokenizer.eos_token_id
        return tuple(sorted({int(i) for i in (*listed, own) if i is not None}))

    @property
    def n_rows(self) -> int:
        """Rows of the output layer, which are the model's logits.

        Raises:
            CheckpointError: the model has no such layer, or one without a matrix.
        """
        layer = self.model.get_output_embeddings()
        weight = None if layer is None else dict(layer.named_parameters(recurse=False)).get("weight")
        if weight is None or weight.ndim != 2:
            held = "none" if layer is None else type(layer).__name__
            raise CheckpointError(
                f"`checkpoint` {self.name} must have an output layer with a matrix of weights, got {held}: "
                f"{type(self.model).__name__} cannot be measured or trained here, choose another model"
            )
        return len(weight)

    @cached_property
    def n_ids(self) -> int:
        """Ids below it are tokens of the tokenizer and rows of the head."""
        return min(max(self.processor.tokenizer.get_vocab().values()) + 1, self.n_rows)

    @cached_property
    def banned_ids(self) -> tuple[int, ...]:
        """Ids that sampling must never draw: those of pictures, and the head's rows beyond the tokenizer."""
        return tuple(sorted({*self.visual_ids, *range(self.n_ids, self.n_rows)}))

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
    checkpoint = resolve(checkpoint)
    if dtype not in DTYPES:
        raise CheckpointError(f"`dtype` must be one of {', '.join(DTYPES)}, got {dtype!r}")
    _check_device(device)
    check_vision(checkpoint)
    model, processor = _read(checkpoint, DTYPES[dtype], attention)
    model.generation_config = GenerationConfig(
        eos_token_id=model.generation_config.eos_token_id or processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    model.eval().to(device)
    if parameters is not None:
        _train_only(model, parameters)
    return LoadedModel(_name(checkpoint), model, processor, weights_fingerprint(checkpoint))


def model_in_memory(model: nn.Module, processor: ProcessorMixin, name: str = "model in memory") -> LoadedModel:
    """Return a model that is loaded already, put into eval mode.

    Its fingerprint is taken over the names and bytes of its parameters.

    Raises:
        CheckpointError: it is none of transformers' models, or its processor has no chat template.
    """
    if not isinstance(model, PreTrainedModel):
        raise CheckpointError(f"`model` must be a transformers model, got {type(model).__name__}; unwrap it")
    if not getattr(processor, "chat_template", None):
        raise CheckpointError("`processor` must have a chat template; only chat models have two views")
    processor.tokenizer.pad_token = processor.tokenizer.pad_token or processor.tokenizer.eos_token
    digest = hashlib.sha256()
    for key, parameter in model.named_parameters():
        digest.update(key.encode())
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return LoadedModel(name, model.eval(), processor, digest.hexdigest()[:16])


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


def _read(checkpoint: str, dtype: torch.dtype, attention: str) -> tuple[PreTrainedModel, ProcessorMixin]:
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            checkpoint,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        processor = load_processor(checkpoint)
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"`checkpoint` {checkpoint} cannot be loaded: {_first_line(error)}") from None
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        raise CheckpointError(f"`checkpoint` {checkpoint} lacks the weights {missing[0]}; save the whole model")
    if not processor.chat_template:
        raise CheckpointError(f"`checkpoint` {checkpoint} has no chat template; only chat models have two views")
    processor.tokenizer.pad_token = processor.tokenizer.pad_token or processor.tokenizer.eos_token
    return model, processor


def weights_fingerprint(checkpoint: str) -> str:
    """Return the sha256 (16 hex digits) over the names and bytes of a checkpoint's safetensors files."""
    is_local = Path(checkpoint).is_dir()
    folder = checkpoint if is_local else snapshot_download(checkpoint, local_files_only=True, allow_patterns=_WEIGHTS)
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob(_WEIGHTS)):
        digest.update(path.name.encode())
        with path.open("rb") as weights:
            while block := weights.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()[:16]


def quiet() -> None:
    """Keep transformers' own bars and notices off the terminal."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _name(checkpoint: str) -> str:
    """A hub id as it is; of a folder the last two parts as it was asked for, which say nothing about the machine."""
    path = Path(checkpoint)
    return "/".join(Path(os.path.abspath(path)).parts[-2:]) if path.is_dir() else checkpoint


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"`device` {device!r} cannot be used ({_first_line(error)}); try cpu") from None


def check_vision(checkpoint: str) -> None:
    """Refuse what is no checkpoint, or one that reads no images, before anything large is loaded."""
    try:
        config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"`checkpoint` {checkpoint} is neither a checkpoint folder nor on the hub: {_first_line(error)}"
        ) from None
    if config.model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise CheckpointError(
            f"`checkpoint` {checkpoint} must read images and text, but {config.model_type} is text-only"
        )


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
