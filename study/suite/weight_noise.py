"""Noise in the weights of one part of a model."""

from typing import Literal

import torch
from torch import nn

from vlm.families import parameter_groups, scopes

Side = Literal["vision", "language"]


def add_noise(model: nn.Module, side: Side, level: float, seed: int) -> None:
    """Add normal noise to every matrix of one side, `level` times as wide as the matrix's own spread.

    vision: the tower and what hands its output to the language model. The text view does not depend on it.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in of_side(model, side):
            if parameter.ndim > 1:
                drawn = torch.randn(parameter.shape, generator=generator)
                parameter.add_(level * parameter.std() * drawn)


def of_side(model: nn.Module, side: Side) -> list[nn.Parameter]:
    """Return the parameters of one side of a model."""
    groups = parameter_groups(model)
    language = set(scopes(groups)["language_model"])
    names = [name for name in groups if (name in language) == (side == "language")]
    return [parameter for name in names for parameter in groups[name]]
