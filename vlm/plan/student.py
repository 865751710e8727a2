"""The outline of a student as it is trained: with adapters, and with layers that run again in the backward pass."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from vlm.families import language_layers, parameter_groups, scopes
from vlm.plan.outline import Outline
from vlm.plan.work import Settings


@contextmanager
def as_trained(outline: Outline, settings: Settings) -> Iterator[tuple[Outline, list[Tensor]]]:
    """Have the model run as it is trained, and give what is trained: weights, or those of adapters."""
    model, rank = outline.model, settings.lora_rank
    with ExitStack() as undo:
        weights: list[Tensor] = [] if rank else _trained(outline, settings)
        if rank:
            for name in language_layers(model):
                weights += _adapter(model.get_submodule(name), rank, undo)
        chosen = set(weights)
        for weight in model.parameters():
            weight.requires_grad_(weight in chosen)
            undo.callback(weight.requires_grad_, True)
        if settings.gradient_checkpointing:
            for layer in [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]:
                layer.forward = partial(_again, layer.forward)
                undo.callback(delattr, layer, "forward")
        yield outline, weights


def trained_numbers(outline: Outline, settings: Settings) -> int:
    """How many numbers are trained: in adapters on all linear layers of the language model, or in weights."""
    if not settings.lora_rank:
        return sum(weight.numel() for weight in _trained(outline, settings))
    layers: list[Any] = [outline.model.get_submodule(name) for name in language_layers(outline.model)]
    return sum(settings.lora_rank * (layer.in_features + layer.out_features) for layer in layers)


def short_numbers(outline: Outline, settings: Settings) -> int:
    """Return how many frozen weights a trainer holds in bfloat16, as `train.adapters` does in a bfloat16 run.

    These are the weights of adapted layers, if the checkpoint was saved in bfloat16 and no entry is changed by it.
    """
    if not settings.lora_rank or (settings.dtype, outline.saved_in) != ("bfloat16", "bfloat16"):
        return 0
    layers: list[Any] = [outline.model.get_submodule(name) for name in language_layers(outline.model)]
    return sum(layer.weight.numel() for layer in layers)


def _trained(outline: Outline, settings: Settings) -> list[Tensor]:
    """The weights that are trained where there are no adapters."""
    if not settings.freeze_vision:
        return list(outline.model.parameters())
    groups = parameter_groups(outline.model)
    return [weight for name in scopes(groups)["language_model"] for weight in groups[name]]


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
