"""A checkpoint's outline: its model built without weights, from the config alone, and its processor if it has one."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, GenerationConfig, PreTrainedModel, ProcessorMixin

from vlm.checkpoints.checkpoint import processor_of
from vlm.checkpoints.configs import readable
from vlm.checkpoints.foreign import naming
from vlm.checkpoints.loaded_model import LoadedModel
from vlm.checkpoints.picture_tokens import PictureTokens
from vlm.checkpoints.places import CheckpointError
from vlm.checkpoints.precision import DTYPES, own_dtype
from vlm.checkpoints.weights import INDEX, WEIGHTS


@dataclass(frozen=True)
class Outline:
    """A model on the meta device: every shape and dtype, no weights.

    name: as it was asked for.
    processor: None where the folder holds none that can be loaded.
    has_weights: whether its weights are on this machine.
    saved_in: the dtype that its config says its weights were saved in.
    """

    name: str
    model: PreTrainedModel
    processor: ProcessorMixin | None = None
    has_weights: bool = False
    saved_in: str = "float32"

    def in_dtype(self, dtype: str) -> "Outline":
        """Return the outline with its weights in another dtype."""
        model = deepcopy(self.model)
        nn.Module.to(model, DTYPES[dtype])
        return replace(self, model=model)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(p.dtype for p in self.model.parameters() if p.is_floating_point())

    @cached_property
    def n_parameters(self) -> int:
        """Numbers of the model; a tied weight counts once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights in their dtype."""
        return sum(tensor.nbytes for tensor in (*self.model.parameters(), *self.model.buffers()))

    @cached_property
    def head(self) -> Any:
        """The layer that makes logits."""
        return self.model.get_output_embeddings()

    @property
    def width(self) -> int:
        """Of a hidden state."""
        return int(self.model.config.get_text_config().hidden_size)

    @cached_property
    def n_ids(self) -> int:
        """Ids that are drawn and scored: those of the tokenizer, or all rows of the head where there is none."""
        rows = int(self.model.config.get_text_config().vocab_size)
        if self.processor is None:
            return rows
        return min(max(self.processor.tokenizer.get_vocab().values()) + 1, rows)

    @property
    def n_rows(self) -> int:
        """Rows of the head: logits of a token."""
        return int(self.model.config.get_text_config().vocab_size)

    @cached_property
    def visual_ids(self) -> tuple[int, ...]:
        """Ids that stand for pictures; none without a processor."""
        return () if self.processor is None else PictureTokens(self.model.config, self.processor).ids

    @property
    def context(self) -> int:
        """Longest sequence of prompt and response, tokens."""
        return int(self.model.config.get_text_config().max_position_embeddings)


def outline(checkpoint: str, *, dtype: str = "float32", attention: str = "sdpa") -> Outline:
    """Return the outline of a folder or a hub id; its weights are neither read nor downloaded.

    Raises:
        CheckpointError: it is no checkpoint of a model that reads pictures, or its model cannot be built.
    """
    if dtype not in DTYPES:
        raise CheckpointError(f"`dtype` must be one of {', '.join(DTYPES)}, got {dtype!r}")
    source = readable(checkpoint)
    config = AutoConfig.from_pretrained(source.base.folder, trust_remote_code=False)
    with naming(checkpoint, "cannot be planned"), _without_weights(DTYPES[dtype]):
        model = AutoModelForImageTextToText.from_config(config, attn_implementation=attention, trust_remote_code=False)
    has_weights, saved_in = source.base.holds(WEIGHTS, INDEX), own_dtype(source.base)
    return Outline(source.place.name, model.eval(), _processor(checkpoint), has_weights, saved_in)


def reader_of(checkpoint: str, outline: Outline) -> LoadedModel:
    """Return what reads responses as the loaded checkpoint would; it has no weights, and the outline's processor."""
    assert outline.processor is not None
    ends = readable(checkpoint).base.read("generation_config.json").get("eos_token_id")
    outline.model.generation_config = GenerationConfig(eos_token_id=ends)
    return LoadedModel(outline.name, outline.model, outline.processor, "")


@contextmanager
def _without_weights(dtype: torch.dtype) -> Iterator[None]:
    """Have models built on the meta device in a dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(before)


def _processor(checkpoint: str) -> ProcessorMixin | None:
    try:
        return processor_of(checkpoint)
    except CheckpointError:
        return None
