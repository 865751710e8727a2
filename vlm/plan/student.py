"""The outline of a student as it is trained: with adapters, and with layers that run again in the backward pass."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from vlm.families import language_layers
from vlm.plan.outline import Outline


@contextmanager
def as_trained(
    outline: Outline, lora_rank: int = 0, gradient_checkpointing: bool = False
) -> Iterator[tuple[Outline, list[Tensor]]]:
    """Have the model run as it is trained, and give what is trained: all weights, or those of adapters."""
    model = outline.model
    weights: list[Tensor] = list(model.parameters())
    with ExitStack() as undo:
        if lora_rank:
            adapters = [_adapter(model.get_submodule(name), lora_rank, undo) for name in language_layers(model)]
            for weight in model.parameters():
                weight.requires_grad_(False)
                undo.callback(weight.requires_grad_, True)
            weights = [matrix for pair in adapters for matrix in pair]
        if gradient_checkpointing:
            for layer in [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]:
                layer.forward = partial(_again, layer.forward)
                undo.callback(delattr, layer, "forward")
        yield outline, weights


def adapter_parameters(outline: Outline, rank: int) -> int:
    """Numbers in adapters of a rank on all linear layers of the language model."""
    layers = [outline.model.get_submodule(name) for name in language_layers(outline.model)]
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers)


def _adapter(layer: Any, rank: int, undo: ExitStack) -> tuple[Tensor, Tensor]:
    down, up = (
        torch.empty(shape, device="meta", requires_grad=True)
        for shape in ((rank, layer.in_features), (layer.out_features, rank))
    )

    def add(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        inner = nn.functional.linear(args[0].to(down.dtype), down)
        return output + nn.functional.linear(inner, up).to(output.dtype)

    undo.callback(layer.register_forward_hook(add).remove)
    return down, up


def _again(forward: Any, *args: Any, **kwargs: Any) -> Any:
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)
