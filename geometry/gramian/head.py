"""The end of a student's graph in which each row of logits depends on a row of hidden states alone.

One backward pass for each objective then serves all units. The gradient that arrives at a row is the same for every
unit, up to the unit's weight of that row. Gradients as wide as the vocabulary are then held once, not for each unit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from geometry.gramian.uses import Use


@dataclass(frozen=True)
class Head:
    """The product that makes the logits, and what is done to each row of its result.

    nodes: of the graph, from the logits to the product.
    below: where gradients with respect to the hidden states `[n, d]` are taken; None where nothing trains below.
    """

    nodes: frozenset[Any]
    below: GradientEdge | None

    @classmethod
    def behind(cls, logits: Tensor) -> "Head | None":
        """Return the head that made logits `[n, V]`; None where it is no such product."""
        node, nodes = logits.grad_fn, set[Any]()
        while node is not None and _by_rows(node, len(logits)):
            nodes.add(node)
            before = [edge for edge in node.next_functions if edge[0] is not None]
            node = before[0][0] if len(before) == 1 else None
        if node is None or node.name() not in _HIDDEN or node._input_metadata[0].shape[0] != len(logits):
            return None
        if node.name() == "AddmmBackward0" and node.next_functions[0][0] is not None:
            return None  # a bias that is trained
        hidden, output = node.next_functions[_HIDDEN[node.name()]]
        return cls(frozenset({*nodes, node}), None if hidden is None else GradientEdge(hidden, output))

    def parted(self, uses: Iterable[Use]) -> tuple[list[Use], list[Use]]:
        """Return the uses of a weight by the head, and the others."""
        mine, others = list[Use](), list[Use]()
        for use in uses:
            node: Any = use.source.grad_fn if isinstance(use.source, Tensor) else use.source.node
            (mine if node in self.nodes else others).append(use)
        return mine, others

    def pull(
        self, logits: Tensor, cotangents: Iterable[Tensor], uses: Sequence[Use]
    ) -> tuple[list[Tensor], Tensor | None]:
        """Return for the k cotangents the gradients `[k, n, o]` at each use, and `[k, n, d]` at the hidden states."""
        places: list[Any] = [*(use.source for use in uses), *([] if self.below is None else [self.below])]
        rows = [torch.autograd.grad(logits, places, seed, retain_graph=True) for seed in cotangents]
        gradients = [torch.stack(each) for each in zip(*rows, strict=True)]
        hidden = None if self.below is None else gradients.pop()
        at_uses = [use.outwards(gradient) for use, gradient in zip(uses, gradients, strict=True)]
        return [at.reshape(len(at), -1, at.shape[-1]) for at in at_uses], hidden


def _by_rows(node: Any, n_rows: int) -> bool:
    """Whether a node does the same to each of the n rows of a tensor, whatever axes of length 1 it has besides."""
    return node.name() in _ELEMENTWISE or (node.name() in _VIEWS and _leads(node._saved_self_sym_sizes, n_rows))


def _leads(sizes: Sequence[int], n_rows: int) -> bool:
    """Whether the rows are the first axis that is longer than 1."""
    return n_rows == 1 or next((size for size in sizes if size != 1), 1) == n_rows


_HIDDEN: Mapping[str, int] = {"MmBackward0": 0, "AddmmBackward0": 1}
"""Products, and which of their inputs are the hidden states."""
_ELEMENTWISE = {
    "MaskedFillBackward0",
    "ToCopyBackward0",
    "MulBackward0",
    "DivBackward0",
    "TanhBackward0",
    "SqueezeBackward1",
    "UnsqueezeBackward0",
}
_VIEWS = {"SliceBackward0", "SelectBackward0", "ViewBackward0", "UnsafeViewBackward0"}
