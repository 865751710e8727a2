"""What the ways are measured against: our engine in float64, on the model itself or on a copy with an untied head."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tests.benchmarks.ways import Job, ours


def untied(jobs: Sequence[Job]) -> list[Job]:
    """The jobs on a copy of their model whose head has a matrix of its own, equal to the embedding's."""
    copies = copy.deepcopy(list(jobs))
    model: Any = copies[0].model
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    return copies


def exact(jobs: Sequence[Job]) -> list[Tensor]:
    """The Gram matrices of the jobs of one model in float64; the model is float32 again thereafter."""
    model = jobs[0].model.double()
    try:
        with Unrounded():
            return list(map(ours(model, 1), jobs))
    finally:
        model.float()


def error(grams: Tensor, expected: Tensor) -> float:
    """Largest |dG_ab| / sqrt(G_aa G_bb)."""
    lengths = expected.diagonal(dim1=-2, dim2=-1).sqrt()
    return float(((grams - expected).abs() / (lengths[:, :, None] * lengths[:, None, :])).nan_to_num(0.0).max())


class Unrounded(TorchFunctionMode):
    """Keeps float64 where a model asks for float32, as Qwen3-VL's norms do: else its float64 is good to 1e-7 only."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        asks = func is Tensor.float or (func is Tensor.to and args[1:] == (torch.float32,))
        if asks and args[0].dtype == torch.float64:
            return args[0]
        return func(*args, **(kwargs or {}))
