"""A loaded model: what is read off it, its tokenizer and its processor."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, ProcessorMixin

from vlm.checkpoints.devices import kind_of_accelerator
from vlm.checkpoints.picture_tokens import PictureTokens
from vlm.checkpoints.places import CheckpointError
from vlm.checkpoints.setup_fingerprint import setup_fingerprint
from vlm.families import parameter_groups


@dataclass(frozen=True)
class LoadedModel:
    """One model of the pair, in eval mode, with the processor it renders with.

    name: hub id with the revision that was asked for, or the last two parts of the folder.
    fingerprint: sha256 over the weight files.
    commit: of a hub id.
    notes: what a reader of a record should know of it.
    most_ids: ids from it on are neither drawn nor scored; None for all of the tokenizer's.
    quantised: int8 or nf4 if the weights are held in 8 or 4 bits.
    runs_on: the device, of a model that waits on the CPU for its turn.
    hands_to: the device that a teacher's logits go to, its student's; None for its own.
    """

    name: str
    model: PreTrainedModel
    processor: ProcessorMixin
    fingerprint: str
    commit: str | None = None
    notes: tuple[str, ...] = ()
    most_ids: int | None = None
    quantised: str | None = None
    runs_on: torch.device | None = None
    hands_to: torch.device | None = None

    def describe(self) -> dict[str, Any]:
        """What identifies the model in a record."""
        described = {"name": self.name, "fingerprint": self.fingerprint, "setup": self.setup}
        described |= {} if self.commit is None else {"commit": self.commit}
        return described | {"dtype": self.dtype_name}

    @cached_property
    def setup(self) -> str:
        """The fingerprint of all but the weights that a number depends on."""
        return setup_fingerprint(self.model.config, self.processor, self.end_ids)

    @cached_property
    def visual_ids(self) -> tuple[int, ...]:
        """Ids that stand for a picture or frame one: none may be in a text view or in a response."""
        return self._picture_tokens.ids

    @property
    def mixes_views(self) -> bool:
        """Whether prompts with more and with fewer pictures can be in one forward pass."""
        return self._picture_tokens.mixes_views

    @cached_property
    def _picture_tokens(self) -> PictureTokens:
        return PictureTokens(self.model.config, self.processor)

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """Ids that end a response."""
        return all_end_ids(self.model.generation_config.eos_token_id, self.processor)

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
        own = min(max(self.processor.tokenizer.get_vocab().values()) + 1, self.n_rows)
        return own if self.most_ids is None else min(own, self.most_ids)

    @cached_property
    def banned_ids(self) -> tuple[int, ...]:
        """Ids that sampling must never draw: those of pictures, and the head's rows beyond `n_ids`."""
        return tuple(sorted({*self.visual_ids, *range(self.n_ids, self.n_rows)}))

    @property
    def context(self) -> int:
        """Longest sequence of prompt and response, tokens."""
        return int(self.model.config.get_text_config().max_position_embeddings)

    @property
    def device(self) -> torch.device:
        """Where its inputs go and its logits come from; of a model on several devices the first accelerator."""
        if self.runs_on is not None:
            return self.runs_on
        return _first(self._laid_out) if self._laid_out else next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and so of pixels."""
        return next(p.dtype for p in self.model.parameters() if p.is_floating_point())

    @property
    def dtype_name(self) -> str:
        """What the weights are held in, such as bfloat16 or nf4."""
        return self.quantised or str(self.model.dtype)[6:]

    @property
    def running(self) -> str:
        """In words: what the weights are held in, which code computes attention, and where."""
        return f"{self.dtype_name}, {self.model.config._attn_implementation} attention, on {self._places}"

    @property
    def is_spread(self) -> bool:
        """Whether its layers are on several devices, so that no weight can be taken for there."""
        return len(set(self._laid_out)) > 1

    @property
    def _laid_out(self) -> list[str]:
        """Where accelerate has put the parts of the model; empty for one that was moved as a whole."""
        return [_place(named) for named in (getattr(self.model, "hf_device_map", None) or {}).values()]

    @property
    def _places(self) -> str:
        if self._laid_out:
            return " and ".join(sorted(set(self._laid_out)))
        return str(self.device) + (", in memory between its turns" if self.runs_on is not None else "")

    @cached_property
    def groups(self) -> dict[str, list[nn.Parameter]]:
        return parameter_groups(self.model)


def _place(named: str | int | torch.device) -> str:
    """The name of a place as accelerate has it: a number stands for an accelerator."""
    return f"{kind_of_accelerator() or 'cuda'}:{named}" if isinstance(named, int) else str(named)


def _first(places: Sequence[str]) -> torch.device:
    """The first of some places that computes: weights in memory or on the disk visit another."""
    return torch.device(next((place for place in places if place not in ("cpu", "disk")), "cpu"))


def all_end_ids(stated: Any, processor: ProcessorMixin) -> tuple[int, ...]:
    """Those that the settings of generation state and the tokenizer's own."""
    listed = list(stated) if isinstance(stated, (list, tuple)) else [stated]
    return tuple(sorted({int(i) for i in (*listed, processor.tokenizer.eos_token_id) if i is not None}))
