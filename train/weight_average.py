"""The mean of the trained weights over the last steps of a run: less noise than the last weights have.

With a constant rate the weights of the last steps scatter around a course; their mean scatters less.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """The running mean of parameters, one tensor for each; adapters' if those are trained."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._means: list[Tensor] = [torch.zeros_like(parameter) for parameter in parameters]
        self.n = 0
        """Number of weights that have been added."""

    @torch.no_grad()
    def add(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add the present weights to the mean."""
        self.n += 1
        for mean, parameter in zip(self._means, parameters, strict=True):
            mean += (parameter - mean) / self.n

    def state(self) -> dict[str, Any]:
        """Return the part of a checkpoint that holds the mean."""
        return {"n": self.n, "means": self._means}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from the mean of a checkpoint."""
        self.n, self._means = int(state["n"]), list(state["means"])

    @contextmanager
    def in_place_of(self, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
        """Return a context in which the parameters have the mean's values."""
        own = [parameter.data for parameter in parameters]
        for mean, parameter in zip(self._means, parameters, strict=True):
            parameter.data = mean
        try:
            yield
        finally:
            for values, parameter in zip(own, parameters, strict=True):
                parameter.data = values


def is_averaged(step: int, steps: int, share: float) -> bool:
    """Say whether the weights after `step` of `steps` updates are among the last `share` of them.

    >>> [step for step in range(1, 7) if is_averaged(step, 6, 1 / 3)]
    [5, 6]
    """
    return bool(share) and step > round(steps * (1.0 - share))
