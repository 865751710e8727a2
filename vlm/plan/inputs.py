"""Inputs of a model by their lengths: made of a real prompt where there is one, else of ids alone.

A batch is the longest prompt as often as asked. Rows of unlike lengths are padded, and so need a mask: where prompts
differ, or are not known, the first row counts as a token shorter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from vlm.plan.outline import Outline
from vlm.views.view import View, encode_prompts, per_token, placed

ASIDE = 2
"""Tokens that frame a picture, such as its start and end."""


@dataclass(frozen=True)
class Shown:
    """What a model is shown before its response, in one view.

    tokens: of the prompt, those of pictures among them.
    visual: of these, those of pictures.
    view: the prompt itself, where there is one.
    uneven: whether the rows of a batch differ in length.
    n_pictures: that the visual tokens belong to.
    """

    tokens: int
    visual: int = 0
    view: View | None = None
    uneven: bool = True
    n_pictures: int = 1

    def inputs(self, outline: Outline, batch: int, n_response: int = 0) -> dict[str, Tensor]:
        """Return a model's inputs for `batch` rows of this prompt and a response: whole numbers are real, pixels are
        shapes alone."""
        own = self._of_the_prompt(outline)
        shape = own["input_ids"].shape
        inputs = {name: _rows(value, shape, batch, n_response) for name, value in own.items()}
        if self.uneven and batch > 1:
            inputs["attention_mask"][0, 0] = 0
        return {name: value.to("meta") if value.is_floating_point() else value for name, value in inputs.items()}

    def _of_the_prompt(self, outline: Outline) -> Mapping[str, Tensor]:
        if self.view is not None and outline.processor is not None:
            return placed(encode_prompts([self.view], outline.processor), "cpu", outline.dtype)
        ids = torch.full((1, self.tokens), max(outline.n_ids // 2, 1))
        grid = _grid(outline, self.visual)
        if not grid:
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        ids[:, 1 : 1 + self.visual] = outline.model.config.image_token_id
        is_picture = (ids == outline.model.config.image_token_id).long()
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": is_picture, **grid}


def _rows(value: Tensor, shape: torch.Size, batch: int, n_response: int) -> Tensor:
    """An input of one prompt as that of several, a response behind it."""
    if not per_token(value, shape):
        return value.repeat(batch, *[1] * (value.ndim - 1))
    last = value[:, -1:]
    return torch.cat([value, *[last] * n_response], dim=1).repeat(batch, *[1] * (value.ndim - 1))


def _grid(outline: Outline, visual: int) -> dict[str, Tensor]:
    """Pixels of a picture with so many tokens, for towers that take patches and their grid (Qwen2-VL and later)."""
    config = outline.model.config
    tower = getattr(config, "vision_config", None)
    names = ("patch_size", "temporal_patch_size", "spatial_merge_size", "in_channels")
    if not visual or not hasattr(config, "image_token_id") or not all(hasattr(tower, name) for name in names):
        return {}
    patch, frames, merge, channels = (getattr(tower, name) for name in names)
    height = next(h for h in range(isqrt(visual), 0, -1) if visual % h == 0)
    pixels = torch.empty(visual * merge**2, channels * frames * patch**2, dtype=outline.dtype, device="meta")
    return {"pixel_values": pixels, "image_grid_thw": torch.tensor([[1, height * merge, visual // height * merge]])}


def pixels_of_a_token(outline: Outline) -> int:
    """Pixels that make a visual token, for towers that merge square patches; 0 for others."""
    tower = getattr(outline.model.config, "vision_config", None)
    sizes = [getattr(tower, name, 0) for name in ("patch_size", "spatial_merge_size")]
    return (sizes[0] * sizes[1]) ** 2 if _grid(outline, 1) else 0


def counts_the_tower(outline: Outline, shown: Shown) -> bool:
    """Whether the pictures of a prompt go through the tower in a plan."""
    has_prompt = shown.view is not None and outline.processor is not None
    return not shown.visual or has_prompt or bool(_grid(outline, shown.visual))
