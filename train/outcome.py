"""What an update leaves: numbers of its tokens, the summed gradient, and what came of it."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

Gradient = list[Tensor]
"""One tensor a trained parameter."""


@dataclass(frozen=True)
class Tokens:
    """Numbers of the response tokens of the global batch, `[T]`, in nats; without a graph."""

    standard: Tensor
    language: Tensor
    visual: Tensor
    vds: Tensor
    entropy: Tensor
    has_image: Tensor


class Summed(NamedTuple):
    """What the micro-batches of all processes add up to."""

    gradient: Gradient
    """Before clipping."""
    loss: float
    eta: float
    tokens: Tokens


@dataclass(frozen=True)
class Outcome:
    """What came of an update."""

    loss: float
    gradient_norm: float
    eta: float
    skipped: bool
    tokens: Tokens | None
    """None where the VDS was not finite."""
