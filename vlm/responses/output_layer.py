"""The end of a model: its linear output layer, what it is handed, and what becomes of its results."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from accelerate.utils import align_module_device
from torch import Tensor, nn
from torch.nn.functional import linear

from geometry import LMHead
from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel
from vlm.responses.output_map import NoOutputMap, OutputMap, probes

_MAPS: WeakKeyDictionary[nn.Module, OutputMap] = WeakKeyDictionary()
"""Of each model that was asked, what it makes of its output layer's results."""


def head_of(loaded: LoadedModel, n_ids: int) -> LMHead:
    """Return the end of a model, over the ids below `n_ids`, those that stand for pictures masked.

    Its weight is the model's parameter: a gradient in one is a gradient in the other. Of a layer that waits in memory
    for its turn (`accelerate`) it is a copy, where the layer runs. Scale and cap are measured.

    Raises:
        CheckpointError: the model's logits are neither results of a linear output layer nor those scaled or capped.
    """
    layer = output_layer(loaded)
    if loaded.model not in _MAPS:
        word = next(index for index in range(n_ids) if index not in loaded.visual_ids)
        with torch.no_grad():
            handed(loaded, lambda: loaded.model(input_ids=torch.tensor([[word, word]], device=loaded.device)).logits)
    shape = _MAPS.get(loaded.model, OutputMap())
    masked = tuple(index for index in loaded.visual_ids if index < n_ids)
    with align_module_device(layer):
        weight, bias = layer.weight, layer.bias
    return LMHead(weight, bias, n_ids=n_ids, masked=masked, scale=shape.scale, softcap=shape.softcap)


def handed(loaded: LoadedModel, forward: Callable[[], Tensor]) -> Tensor:
    """Return what the output layer is handed in a forward pass that returns logits; note what becomes of its results.

    Raises:
        CheckpointError: as `head_of`.
    """
    layer = output_layer(loaded)
    taken: list[Tensor] = []

    def take(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        taken.append(inputs[0])
        return (probed(inputs[0]),)

    def probed(hidden: Tensor) -> Tensor:
        with align_module_device(layer):
            return probes(hidden.to(layer.weight.device), layer)

    hook = layer.register_forward_pre_hook(take)
    try:
        logits = forward()
    finally:
        hook.remove()
    (hidden,) = taken
    _note_map(loaded, layer, probed(hidden), logits.detach())
    return hidden


def output_layer(loaded: LoadedModel) -> nn.Linear:
    """Return the layer that makes logits.

    Raises:
        CheckpointError: there is none, or it is not linear.
    """
    layer = loaded.model.get_output_embeddings()
    if not isinstance(layer, nn.Linear):
        raise CheckpointError(
            f"`checkpoint` {loaded.name} must have a linear output layer for a loss from hidden states, got "
            f"{type(layer).__name__}; leave it out of the adapter, or take the loss from `view_logits`"
        )
    return layer


@torch.no_grad()
def _note_map(loaded: LoadedModel, layer: nn.Linear, probed: Tensor, logits: Tensor) -> None:
    """Note what the model makes of its output layer's results; refuse what is neither a scale nor a cap.

    Weights that are not finite say nothing of it: their losses are not finite either.
    """
    with align_module_device(layer):
        results = linear(probed, layer.weight, layer.bias)
    logits = logits.to(results.device)
    if not results.isfinite().all():
        return
    try:
        if loaded.model not in _MAPS:
            _MAPS[loaded.model] = OutputMap.measured(results[:1], logits[:1], loaded.model.config.to_dict())
        for row in range(len(results)):  # in double precision: one row at a time, since a vocabulary is large
            _MAPS[loaded.model].check(results[row : row + 1], logits[row : row + 1])
    except NoOutputMap as error:
        raise CheckpointError(
            f"`checkpoint` {loaded.name} must have logits that are one linear map of its last hidden state, scaled or "
            f"capped by tanh or neither, {error}; take the loss from `view_logits`"
        ) from None
