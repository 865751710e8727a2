"""What a device does in a second, measured in about that: products, traffic, operations, and hashing of files."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from vlm.plan.shapes_only import Counts

SECONDS = 0.2
"""Of each measurement."""
_WIDTH, _ROWS = 2048, 512


@dataclass(frozen=True)
class Rates:
    """Products in FLOP a second, traffic in bytes a second, and seconds before an operation begins.

    start_seconds: those of a layer that is called from Python, as the layers of a model are.
    device: on which they were measured.
    hashed_bytes: of files a second, as fingerprints are taken.
    """

    flops: float
    bytes: float
    start_seconds: float
    device: str
    hashed_bytes: float = 1e9

    def seconds(self, counts: Counts, weight_bytes: int = 0) -> float:
        """Return the time of a run: its products, or the reading of the weights where that is more, then the rest.

        weight_bytes: read once by all products together.
        """
        products = max(counts.flops / self.flops, weight_bytes / self.bytes)
        return products + max(counts.moved_bytes / self.bytes, counts.n_ops * self.start_seconds)


def measured_rates(device: torch.device | str, dtype: torch.dtype) -> Rates:
    """Measure a device with the threads that PyTorch has here."""
    a = torch.randn(_ROWS, _WIDTH, device=device).to(dtype)
    b = torch.randn(_WIDTH, _WIDTH, device=device).to(dtype)
    large = torch.zeros(1 << 24, device=device)
    layers = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.SiLU()).to(device)
    small = torch.zeros(1, 8, device=device)
    data = bytes(1 << 22)
    product = _each(lambda: a @ b, device)
    copy = _each(lambda: large.add_(1.0), device)
    hashing = _each(lambda: hashlib.sha256(data).digest(), "cpu")
    with torch.no_grad():
        start = _each(lambda: layers(small), device) / len(layers)
    return Rates(
        2 * _ROWS * _WIDTH**2 / product,
        2 * large.nbytes / copy,
        start,
        str(torch.device(device).type),
        len(data) / hashing,
    )


def _each(work: Callable[[], object], device: torch.device | str) -> float:
    """Seconds of one piece of work."""
    work()
    _wait(device)
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        for _ in range(4):
            work()
        n += 4
        _wait(device)
    return (time.perf_counter() - began) / n


def _wait(device: torch.device | str) -> None:
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(device)
