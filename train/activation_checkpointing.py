"""Less memory in the student's backward pass: a layer keeps its input alone and runs again where a gradient needs more.

transformers does the same in training mode only, which would also switch dropout on and a cache off. Here the model
stays in eval mode, in which a layer gives the same bits each time, and a pass without gradients runs as it always does:
rollouts, with their cache, and evaluations are untouched.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from vlm.checkpoints.checkpoint import CheckpointError


def checkpoint_activations(model: nn.Module) -> None:
    """Have the layers of a model, those of the vision tower too, run again in the backward pass.

    Raises:
        CheckpointError: the model has no layers that transformers marks for it.
    """
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise CheckpointError(
            f"`gradient_checkpointing` needs layers that transformers marks for it, but {type(model).__name__} has"
            " none; leave it out and lower `micro_batch`"
        )
    for layer in layers:
        layer.forward = partial(_run, layer.forward)


def _run(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a layer; a cache is written to once, so that a pass with one is not run again."""
    if not torch.is_grad_enabled() or kwargs.get("past_key_values") is not None:
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)
