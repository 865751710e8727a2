"""Two models that take turns on one device: the teacher waits in memory, and the student does while the teacher runs.

Outside of the teacher's forward passes the student is on the device. All weights move except those of the output
layers, which stay on the device: logits are computed there from hidden states after the pass.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vlm.checkpoints.devices import CPU
from vlm.checkpoints.loaded_model import LoadedModel
from vlm.checkpoints.pair import Pair


def taking_turns(pair: Pair) -> Pair:
    """Return the pair with a teacher, on the CPU so far, that comes to the student's device for each forward pass."""
    device = pair.student.device
    student, teacher = _movable(pair.student), _movable(pair.teacher)
    for weight in _of_output_layer(pair.teacher):
        weight.data = weight.data.to(device)
    waiting = [tensor.data for tensor in teacher]  # never written to: the teacher is frozen

    def come(*_: Any) -> None:
        _move(student, CPU)
        _move(teacher, device)

    def leave(*_: Any) -> None:
        for tensor, kept in zip(teacher, waiting, strict=True):
            tensor.data = kept
        _move(student, device)

    pair.teacher.model.register_forward_pre_hook(come)
    pair.teacher.model.register_forward_hook(leave, always_call=True)  # out of memory, too
    return replace(pair, teacher=replace(pair.teacher, runs_on=device))


def _of_output_layer(loaded: LoadedModel) -> list[Tensor]:
    layer = loaded.model.get_output_embeddings()
    return [] if layer is None else list(layer.parameters())


def _movable(loaded: LoadedModel) -> list[Tensor]:
    """Weights and buffers of a model but those of its output layer."""
    stay = {id(weight) for weight in _of_output_layer(loaded)}
    return [t for t in (*loaded.model.parameters(), *loaded.model.buffers()) if id(t) not in stay]


@torch.no_grad()
def _move(tensors: list[Tensor], device: torch.device) -> None:
    for tensor in tensors:
        tensor.data = tensor.data.to(device)
