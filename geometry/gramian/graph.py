"""Read off the graph what a parameter is applied to, where no known module says so.

A matrix may be multiplied without a `Linear`, be one of a stack of experts, or be looked up and scaled. The graph leads
from such a parameter over views (a slice, a transpose, a cast) to a product or a lookup, which holds what the
parameter was applied to. The gradient is taken at the result of that product. A parameter that the graph uses in any
other way is left out with all its uses.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from geometry.gramian.uses import Outwards, Part, Use, as_they_are

_WORTH = 4
"""A parameter whose results hold more numbers than this many times its own is cheaper taken as it is."""


class _UnknownUse(Exception):
    """The graph uses a parameter in a way that is not known."""


class _Edge(NamedTuple):
    """A tensor on its way into a node.

    place: which input of the node it is.
    output: which output it is of the node that made it.
    """

    node: Any
    place: int
    output: int


@dataclass(frozen=True)
class Graph:
    """The graph behind some logits.

    nodes: all of its nodes but the leaves.
    consumers: where the results of each node, or leaf, go.
    leaves: the node of each leaf.
    """

    nodes: set[Any]
    consumers: dict[Any, list[_Edge]]
    leaves: dict[Tensor, Any]

    @classmethod
    def behind(cls, logits: Tensor) -> "Graph":
        """Walk the graph of `logits`."""
        waiting: list[Any] = [logits.grad_fn]
        nodes, leaves = set(waiting), dict[Tensor, Any]()
        consumers: dict[Any, list[_Edge]] = defaultdict(list)
        while waiting:
            node = waiting.pop()
            for place, (before, output) in enumerate(node.next_functions):
                if before is None:
                    continue
                consumers[before].append(_Edge(node, place, output))
                if hasattr(before, "variable"):
                    leaves[before.variable] = before
                elif before not in nodes:
                    nodes.add(before)
                    waiting.append(before)
        return cls(nodes, consumers, leaves)

    @property
    def edges(self) -> Counter[Tensor]:
        """How many edges lead to each leaf."""
        return Counter({leaf: len(self.consumers[node]) for leaf, node in self.leaves.items()})

    def uses(self, parameters: Collection[nn.Parameter]) -> tuple[list[Use], set[nn.Parameter]]:
        """Return the uses of the parameters, and which parameters are used in other ways or are not worth it."""
        uses, left_out = list[Use](), set[nn.Parameter]()
        for parameter in parameters:
            try:
                edges = self.consumers[self.leaves[parameter]] if parameter in self.leaves else []
                mine = list(self._of_edges(parameter, edges, Part()))
            except _UnknownUse:
                left_out.add(parameter)
                continue
            if sum(use.n_outputs for use in mine) > _WORTH * parameter.numel():
                left_out.add(parameter)
            else:
                uses += mine
        return uses, left_out

    def _of_edges(self, parameter: nn.Parameter, edges: Sequence[_Edge], part: Part) -> Iterator[Use]:
        """Follow a part of a parameter into what is made of it."""
        for edge in edges:
            name = edge.node.name()
            if name == "UnbindBackward0":
                _require(part.matrix is None and parameter.ndim == 3 and signed(edge.node._saved_dim) in (0, -3))
                for matrix in self.consumers[edge.node]:
                    yield from self._of_edges(parameter, [matrix], part._replace(matrix=matrix.output))
            elif name in _VIEWS:
                seen = _VIEWS[name](parameter, edge.node, part)
                yield from self._of_edges(parameter, self.consumers[edge.node], seen)
            elif name in _PRODUCTS:
                yield from _PRODUCTS[name](parameter, edge, part)
            else:
                raise _UnknownUse


def _selected(parameter: nn.Parameter, node: Any, part: Part) -> Part:
    _require(part.matrix is None and parameter.ndim == 3 and signed(node._saved_dim) in (0, -3))
    return part._replace(matrix=signed(node._saved_index) % len(parameter))


def _transposed(parameter: nn.Parameter, node: Any, part: Part) -> Part:
    return _swapped(parameter, part, {signed(node._saved_dim0), signed(node._saved_dim1)})


def _permuted(parameter: nn.Parameter, node: Any, part: Part) -> Part:
    axes = parameter.ndim if part.matrix is None else parameter.ndim - 1
    order = [signed(axis) % axes for axis in node._saved_dims]
    _require(order[:-2] == list(range(axes - 2)))
    return part if order == sorted(order) else part._replace(transposed=not part.transposed)


def _swapped(parameter: nn.Parameter, part: Part, dims: set[int]) -> Part:
    axes = parameter.ndim if part.matrix is None else parameter.ndim - 1
    _require({dim % axes for dim in dims} == {axes - 2, axes - 1})
    return part._replace(transposed=not part.transposed)


_VIEWS: dict[str, Callable[[nn.Parameter, Any, Part], Part]] = {
    "SelectBackward0": _selected,
    "TBackward0": lambda parameter, node, part: _swapped(parameter, part, {-1, -2}),
    "TransposeBackward0": _transposed,
    "PermuteBackward0": _permuted,
    "ToCopyBackward0": lambda parameter, node, part: part,
}


@dataclass(frozen=True)
class _Product:
    """A kind of node that multiplies matrices, or stacks of them.

    left, right: the node's names for its factors.
    first: which of its inputs the left factor is; the right one follows.
    """

    left: str
    right: str
    first: int = 0

    def __call__(self, parameter: nn.Parameter, edge: _Edge, part: Part) -> Iterator[Use]:
        """Yield the uses of a parameter that is one of the factors."""
        node, is_right = edge.node, edge.place == self.first + 1
        _require(edge.place >= self.first and getattr(node, "_saved_alpha", 1) == 1)
        other = getattr(node, f"_saved_{self.left if is_right else self.right}").detach()
        other = other if is_right else other.mT  # [*E, S, i]
        part = part._replace(transposed=part.transposed != is_right)
        if other.ndim == 2:
            yield _use(parameter, part, other, node, as_they_are if is_right else _turned)
            return
        _require(parameter.ndim == 3)
        for index, inputs in enumerate(other):
            rows = inputs.any(dim=-1).nonzero().squeeze(1)  # an expert that was not asked is handed zeros
            if len(rows):
                at_rows = _of_matrix(index, rows, is_right)
                yield _use(parameter, part._replace(matrix=index), inputs[rows], node, at_rows)


def _use(parameter: nn.Parameter, part: Part, inputs: Tensor, node: Any, outwards: Outwards) -> Use:
    n_outputs = len(inputs) * part.within(parameter).shape[-2]
    return Use(parameter, inputs, GradientEdge(node, 0), n_outputs, outwards, part)


def _turned(gradients: Tensor) -> Tensor:
    return gradients.mT


def _of_matrix(index: int, rows: Tensor, is_right: bool) -> Outwards:
    """Pick from the gradients `[C, E, S, o]` (or `[C, E, o, S]`) those of one matrix at some rows."""

    def picked(gradients: Tensor) -> Tensor:
        matrix = gradients[:, index] if is_right else gradients[:, index].mT
        return matrix[:, rows]

    return picked


def _looked_up(parameter: nn.Parameter, edge: _Edge, part: Part) -> Iterator[Use]:
    """A lookup learns nothing at its padding id."""
    node = edge.node
    _require(part == Part() and parameter.ndim == 2 and not (node._saved_sparse or node._saved_scale_grad_by_freq))
    ids, padding = node._saved_indices.detach(), signed(node._saved_padding_idx)
    kept = (ids != padding).unsqueeze(-1)
    source, n_outputs = GradientEdge(node, 0), ids.numel() * parameter.shape[1]
    yield Use(parameter, ids.reshape(-1), source, n_outputs, lambda gradients: gradients * kept)


def _indexed(parameter: nn.Parameter, edge: _Edge, part: Part) -> Iterator[Use]:
    """Rows of a matrix, by one tensor of ids."""
    (ids, *others), node = edge.node._saved_indices, edge.node
    _require(part == Part() and parameter.ndim == 2 and not others and ids is not None and ids.dtype == torch.long)
    source, n_outputs = GradientEdge(node, 0), ids.numel() * parameter.shape[1]
    yield Use(parameter, ids.detach().reshape(-1) % len(parameter), source, n_outputs, as_they_are)


_PRODUCTS: dict[str, Callable[[nn.Parameter, _Edge, Part], Iterator[Use]]] = {
    "MmBackward0": _Product("self", "mat2"),
    "AddmmBackward0": _Product("mat1", "mat2", first=1),
    "BmmBackward0": _Product("self", "mat2"),
    "BaddbmmBackward0": _Product("batch1", "batch2", first=1),
    "EmbeddingBackward0": _looked_up,
    "IndexBackward0": _indexed,
}


def signed(number: int) -> int:
    """Nodes hold negative numbers without their sign."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _require(holds: bool) -> None:
    if not holds:
        raise _UnknownUse
