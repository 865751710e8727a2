"""Small checkpoints with random weights, made once for all tests that need a model.

The pair has the bundled pair's architecture at a fraction of its size. Its weights are drawn wide, so that logits
differ between tokens, views and models.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from bundled import architecture
from bundled.prompts import bundled_prompts
from vlm.checkpoints.pair import Pair, load_pair
from vlm.prompts.prompt import Prompt

TEACHER = {"layers": 2, "width": 32, "heads": 2, "mlp": 48, "vision_layers": 2, "vision_width": 32}
STUDENT = {"layers": 2, "width": 24, "heads": 2, "mlp": 32, "vision_layers": 2, "vision_width": 16}


def widen(model: nn.Module, seed: int, factor: float = 4.0) -> None:
    """Draw all matrices from `seed`, `factor` times as wide as the model's own start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02 * factor)


def write_checkpoint(folder: Path, sizes: dict[str, int], seed: int) -> Path:
    """Save a random model of `sizes` with its processor."""
    model = architecture.build(sizes)
    widen(model, seed)
    model.save_pretrained(folder)
    architecture.processor().save_pretrained(folder)
    return folder


def copy_of(checkpoint: Path, folder: Path) -> Path:
    """Copy a checkpoint, to be spoilt."""
    shutil.copytree(checkpoint, folder)
    return folder


def load(folder: Path, dtype: str = "float32") -> Pair:
    """Load the pair `student`, `teacher` of a folder."""
    return load_pair(str(folder / "student"), str(folder / "teacher"), dtype=dtype)


def scenes(n: int) -> list[Prompt]:
    """Return bundled prompts; the sixth of every ten has no picture."""
    return bundled_prompts(n, seed=0)


def flat(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Tensor:
    """Join gradients to one vector, zeros where a parameter has none."""
    pairs = zip(parameters, gradients, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).ravel() for p, g in pairs])
