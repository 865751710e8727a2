"""Nodes of a view's graph as a walk meets them, and what a rule is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from geometry.gramian.sweep.cotangent import Cotangent
from geometry.gramian.sweep.layout import Layouts

Cotangents = Sequence[Cotangent | None]
Rule = Callable[["Node", "Cotangents"], "Cotangents"]
"""Takes the cotangents at a node's results, of which one at least is there."""


class NoRule(Exception):
    """A rule does not cover a case, which is left to the node itself."""


Edge = tuple[Any, int]
"""A node and which of its results; the node of a leaf has a `variable`."""


@dataclass
class Node:
    """A node of the graph, or several as one, and what is needed of it.

    node: the one that makes the results.
    edges: where its inputs come from.
    wanted: for each of them, whether a cotangent is needed there.
    rule: takes cotangents through; None where only the node itself can.
    layouts: of own and first places, where rows are held.
    """

    node: Any
    edges: Sequence[Edge]
    wanted: tuple[bool, ...]
    rule: Rule | None = None
    layouts: Layouts | None = None
    _tables: dict[str, Tensor] = field(default_factory=dict)

    def saved(self, name: str) -> Any:
        """Return what the forward pass saved."""
        return saved(self.node, name)

    def shape(self, place: int) -> tuple[int, ...]:
        """Return the shape of an input."""
        return tuple(self._tensor(place).shape)

    def dtype(self, place: int) -> torch.dtype:
        """Return the dtype of an input."""
        return self._tensor(place).dtype

    def _tensor(self, place: int) -> Any:
        before, output = self.edges[place]
        variable = getattr(before, "variable", None)
        return before._input_metadata[output] if variable is None else variable

    def table(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Return a tensor that is made once, for all seeds."""
        if name not in self._tables:
            self._tables[name] = make()
        return self._tables[name]


def saved(node: Any, name: str) -> Any:
    """Return what a node's forward pass saved."""
    return getattr(node, f"_saved_{name}")


@torch.no_grad()
def derivative(node: Any) -> Tensor:
    """Return the derivative of an elementwise function of one tensor."""
    (result,) = node._input_metadata
    stored = saved(node, "self" if hasattr(node, "_saved_self") else "result")
    pulled = node(stored.new_ones(result.shape, dtype=result.dtype))
    return (pulled[0] if isinstance(pulled, tuple) else pulled).detach()


def only(cotangents: Cotangents) -> Cotangent:
    """Return the one cotangent that is there."""
    (one,) = (each for each in cotangents if each is not None)
    return one


def unknown() -> Cotangents:
    """Leave a case to the node itself."""
    raise NoRule
