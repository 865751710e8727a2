"""What a model makes of the results of its output layer: logits as they are, scaled, or capped. It is measured.

The layer is handed one hidden state at several lengths. With `x` its results, the logits must be `scale x` or
`softcap tanh(scale x / softcap)` at every length. Where the config states the number that was measured (a field whose
name speaks of logits), the config's is taken, for a measurement in half precision is off by some thousandths.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from geometry.lm_head import scaled_and_capped

LARGEST_RESULTS = (0.125, 8.0, 64.0, 8192.0)
"""To about these the results of the probes are scaled: from where a cap does nothing to where it is all there is."""

_HALF = (torch.bfloat16, torch.float16)
_FIELD = re.compile(r"logit|softcap", re.IGNORECASE)


class NoOutputMap(Exception):
    """The logits are no scaled or capped results; the message says how far apart the closest ones are."""


@dataclass(frozen=True)
class OutputMap:
    """How logits follow from the results of the output layer."""

    scale: float = 1.0
    softcap: float | None = None

    @classmethod
    def measured(cls, results: Tensor, logits: Tensor, config: Mapping[str, Any]) -> "OutputMap":
        """Find the map of a model from probes.

        Args:
            results: of the output layer for the probes, `[B, n, V]`.
            logits: of the model for them.
            config: where numbers of the map may be stated.

        Raises:
            NoOutputMap: no scale and cap give these logits.
        """
        x, y, near = results.double(), logits.double(), 1e-2 if results.dtype in _HALF else 1e-4
        if x.shape != y.shape:
            raise NoOutputMap(f"got logits {tuple(y.shape)} from results {tuple(x.shape)}")
        if not y.isfinite().all():
            raise NoOutputMap("got some that are not finite")
        fit = _fitted(x, y)
        if not fit.scale > 0:
            raise NoOutputMap(f"got a scale of {fit.scale:.3g}")
        cap = None if fit.softcap is None else _stated(fit.softcap, config, near)
        fit = cls(_stated(fit.scale, config, near), cap)
        fit.check(results, logits)
        return fit

    def check(self, results: Tensor, logits: Tensor) -> None:
        """Refuse logits that this map does not make of these results, within the precision of the results.

        Raises:
            NoOutputMap: as said.
        """
        expected = scaled_and_capped(results.double(), self.scale, self.softcap)
        if expected.shape != logits.shape:
            raise NoOutputMap(f"got logits {tuple(logits.shape)} from results {tuple(expected.shape)}")
        tolerance = 2e-2 if results.dtype in _HALF else 2e-3
        apart, most = (x.abs().amax(dim=(0, 2)).tolist() for x in (logits.double() - expected, expected))
        for difference, size in zip(apart, most, strict=True):
            if not difference <= tolerance * size:
                raise NoOutputMap(f"got a difference of {difference:.3g} at logits up to {size:.3g}")


@torch.no_grad()
def probes(hidden: Tensor, layer: nn.Linear) -> Tensor:
    """Return the first column of hidden states `[B, columns, d]` at several lengths, `[B, n, d]`; itself is first."""
    first = hidden[:, :1].detach()
    direction = first if first.any() else torch.ones_like(first)
    most = float(linear(direction, layer.weight).abs().max())
    if not 0 < most < math.inf:
        return first
    lengths = [2.0 ** round(math.log2(largest / most)) for largest in LARGEST_RESULTS]
    return torch.cat([first, *(length * direction for length in lengths)], dim=1)


def _fitted(x: Tensor, y: Tensor) -> OutputMap:
    """The map that fits, a cap only if the largest logits fall short of their results."""
    scale = _slope(x[:, 1:2], y[:, 1:2]) if x.shape[1] > 1 else _slope(x, y)
    place = x.abs().argmax()
    far, most = scale * float(x.flatten()[place].abs()), float(y.flatten()[place].abs())
    if not 0 < most < 0.98 * far:
        return OutputMap(_slope(x, y))
    softcap = most
    for _ in range(50):
        softcap = most / math.tanh(far / softcap)
    open_ = (y.abs() < 0.9 * softcap) & (y != 0)
    return OutputMap(_slope(x[open_], softcap * torch.atanh(y[open_] / softcap)), softcap)


def _slope(x: Tensor, y: Tensor) -> float:
    """The s of the least sum of squares of `y - s x`."""
    return float((x * y).sum() / (x * x).sum().clamp_min(torch.finfo(x.dtype).tiny))


def _stated(number: float, config: Mapping[str, Any], near: float) -> float:
    """The number of the config, or its inverse, that was measured; 1 if it nearly is; else what was measured."""
    candidates = [1.0, *(x for value in _numbers(config) for x in (value, 1 / value))]
    nearest = min(candidates, key=lambda candidate: abs(candidate / number - 1))
    return nearest if abs(nearest / number - 1) < near else number


def _numbers(config: Mapping[str, Any]) -> Iterator[float]:
    """The positive numbers that a config and the configs in it hold under names that speak of logits."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _numbers(value)
        elif _FIELD.search(str(name)) and isinstance(value, (int, float)) and 0 < value < math.inf:
            yield float(value)
