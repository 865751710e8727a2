"""What the checks of a family look at: its random pair in two precisions, prompts, and responses to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from geometry import FourViews
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.checkpoints.pair import Pair, load_pair
from vlm.prompts.prompt import Prompt
from vlm.prompts.sources import load_prompts
from vlm.responses.rollouts import Rollout
from vlm.responses.scoring import score
from vlm.views.view import View, encode_prompts, view_pairs

N_TOKENS = 5
"""Tokens of the longest response that the checks score."""


@dataclass(frozen=True)
class Subject:
    """A family's folder: `student`, `teacher`, and `prompts.jsonl` beside them."""

    folder: Path

    @cached_property
    def pair(self) -> Pair:
        """The pair in float32."""
        return self._load("float32")

    @cached_property
    def exact(self) -> Pair:
        """The pair in float64."""
        return self._load("float64")

    @cached_property
    def prompts(self) -> list[Prompt]:
        """Prompts with one picture, with two, and without any."""
        return load_prompts(str(self.prompt_file))

    @property
    def prompt_file(self) -> Path:
        return self.folder.parent / "prompts.jsonl"

    @cached_property
    def views(self) -> list[tuple[View, View]]:
        return view_pairs(self.prompts, "drop")

    @cached_property
    def rollouts(self) -> list[Rollout]:
        """A response of random drawable ids to each prompt, of 1 to `N_TOKENS` tokens."""
        generator = torch.Generator().manual_seed(5)
        student = self.pair.student
        drawable = torch.tensor(sorted(set(range(self.pair.n_ids)) - set(student.banned_ids)))
        found = []
        for number, prompt in enumerate(self.prompts):
            drawn = torch.randint(len(drawable), (1 + number % N_TOKENS,), generator=generator)
            found.append(Rollout(prompt.prompt_id, 0, tuple(drawable[drawn].tolist()), "", truncated=True))
        return found

    @cached_property
    def scored(self) -> list[FourViews]:
        """The four views of each response, in batches of mixed prompts."""
        return list(score(self.pair, self.views, self.rollouts, batch=4))

    def _load(self, dtype: str) -> Pair:
        return load_pair(str(self.folder / "student"), str(self.folder / "teacher"), dtype=dtype)


def plain_inputs(loaded: LoadedModel, view: View, response: Sequence[int]) -> dict[str, Tensor]:
    """Return the inputs of one response under one view, written out from the definition."""
    inputs = encode_prompts([view], loaded.processor)
    length = inputs["input_ids"].shape[1]
    tail = torch.tensor([list(response)])
    for name, value in inputs.items():
        if name == "input_ids":
            inputs[name] = torch.cat([value, tail], dim=1)
        elif value.ndim >= 2 and value.shape[:2] == (1, length):
            like = value[:, -1:] if name in ("attention_mask", "cross_attention_mask") else value[:, -1:] * 0
            inputs[name] = torch.cat([value, *[like] * len(response)], dim=1)
        if value.is_floating_point():
            inputs[name] = value.to(loaded.model.dtype)
    return inputs


def plain_logits(loaded: LoadedModel, inputs: Mapping[str, Tensor], n_tokens: int, n_ids: int) -> Tensor:
    """Return the logits `[T, V]` of a response from a forward pass of its own that keeps all columns."""
    logits = loaded.model(**inputs, use_cache=False).logits
    return logits[0, -n_tokens - 1 : -1, :n_ids]
