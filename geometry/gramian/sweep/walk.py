"""The way back through a view's graph, for all seeds at once.

The forward pass is run once; its graph serves every chunk of units. Nodes are met in the reverse of their order. A node
without a rule is left to autograd, cotangent by cotangent where it must be, so that the result is right for any graph.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from geometry.gramian.sweep.cotangent import Cotangent, NotByRows
from geometry.gramian.sweep.layout import Layouts
from geometry.gramian.sweep.node import Cotangents, Edge, Node, NoRule
from geometry.gramian.sweep.patterns import joined
from geometry.gramian.sweep.rules import rule_of
from geometry.memory import is_out_of_memory

_ENTRY = "IndexBackward0"
_LEAF: Any = type(nn.Parameter(torch.zeros(1)).view(1).grad_fn.next_functions[0][0])  # type: ignore[union-attr]
"""The kind of node that a parameter has."""


@dataclass(frozen=True)
class Units:
    """The units of a chunk, by ascending last token.

    own: the rows of the seeds that each unit has a weight at, and others. stops: behind the last of these.
    bounds: where blocks of units begin, and their number. m: seeds a unit.
    """

    own: Int[Tensor, "U s"]
    stops: Sequence[int]
    bounds: Sequence[int]
    m: int


@dataclass(frozen=True)
class Arrived:
    """What arrived at a place that was asked for.

    source: the node, or the leaf.
    """

    source: Any
    cotangent: Cotangent


@dataclass(frozen=True)
class _Entry:
    """The node that picks the rows of a start among the places of a sequence.

    index: the places, on the CPU, and as numbers. axis: that of the places.
    """

    node: Any
    index: Tensor
    places: Sequence[int]
    axis: int

    def takes(self, arrived: Cotangent) -> bool:
        """Whether what arrived at the node is by rows of the start still."""
        by_rows = arrived.layout is not None and arrived.layout.size == len(self.places)
        return by_rows and arrived.shape[self.axis] == len(self.places)


class Walk:
    """A view's graph, from a start back to sources and leaves.

    Args:
        start: a tensor `[n, d]` of the graph, by its node; its rows are those of the probed tokens.
        sources: nodes at whose results cotangents are asked for.
        leaves: parameters at which they are asked for.
        within: the nodes that are gone through; all by default.
    """

    def __init__(
        self,
        start: GradientEdge,
        sources: Sequence[Any],
        leaves: Sequence[nn.Parameter],
        within: Set[Any] | None = None,
    ) -> None:
        self._start, self._sources, self._leaves = start, set(sources), set(leaves)
        self._nodes = self._needed(start.node, within)
        self._entry = self._entered()

    @property
    def leaves(self) -> Set[nn.Parameter]:
        """The parameters whose gradients are asked for."""
        return self._leaves

    def lengths(self, stops: Sequence[int]) -> list[int]:
        """Return how many places of the sequence there are up to the rows before `stops`."""
        if self._entry is None:
            return list(stops)
        return [self._entry.places[stop - 1] + 1 for stop in stops]

    def _needed(self, start: Any, within: Set[Any] | None) -> dict[Any, Node]:
        """The nodes that lead to something asked for, those first that come last in the forward pass."""
        waiting: list[Any] = [start]
        edges: dict[Any, Sequence[Edge]] = {start: start.next_functions}
        while waiting:
            for before, _ in edges[waiting.pop()]:
                if before is not None and before not in edges and (within is None or before in within):
                    edges[before] = () if type(before) is _LEAF else before.next_functions
                    waiting.append(before)
        needed: dict[Any, Node] = {}
        met = sorted((node._sequence_nr(), place, node) for place, node in enumerate(edges) if type(node) is not _LEAF)
        for _, _, node in met:
            wanted = self._wanted(edges[node], needed)
            if True in wanted or node in self._sources:
                needed[node] = Node(node, edges[node], wanted, rule_of(node.name()))
        for node, (before, rule) in joined(needed, self._sources).items():
            needed[node] = Node(node, before, self._wanted(before, needed), rule)
        return dict(reversed(needed.items()))

    def _wanted(self, edges: Sequence[Edge], needed: Mapping[Any, Node]) -> tuple[bool, ...]:
        return tuple(
            [before in needed or (type(before) is _LEAF and before.variable in self._leaves) for before, _ in edges]
        )

    def _entered(self) -> _Entry | None:
        """Where the rows of the start are picked among the places of the sequence."""
        node: Any = self._start.node
        while node in self._nodes:
            if node.name() == _ENTRY:
                axis, index = next((axis, each) for axis, each in enumerate(node._saved_indices) if each is not None)
                plain = index.ndim == 1 and index.dtype == torch.long
                index = (index % node._saved_self_sym_sizes[axis]).cpu() if plain else index
                return _Entry(node, index, index.tolist(), axis) if plain else None
            before = [edge for edge in node.next_functions if edge[0] is not None]
            node = before[0][0] if len(before) == 1 else None
        return None

    @torch.no_grad()
    def back(self, seeds: Tensor, units: Units) -> Iterator[Arrived]:
        """Yield what arrives at each source and leaf, sources in the order in which they are met.

        seeds: `[U m s, d]`, of each unit's own rows.
        """
        start: Any = self._start.node
        shape = tuple(start._input_metadata[self._start.output_nr].shape)
        both = Layouts(units.own, units.stops, units.bounds, units.m, shape[0], seeds.device)
        pending: dict[Any, dict[int, Cotangent]] = {
            start: {self._start.output_nr: Cotangent(seeds, shape, both.own, 0)}
        }
        at_leaves: dict[Any, Cotangent] = {}
        usual = seeds.dtype
        for handle, node in self._nodes.items():
            arrived = pending.pop(handle, None)
            if arrived is None:
                continue
            if handle in self._sources:
                yield Arrived(handle, arrived[0])
            if not any(node.wanted):
                continue
            if self._entry is not None and self._entry.node is handle and self._entry.takes(arrived[0]):
                both, passed = self._enter(arrived[0], units)
            else:
                node.layouts = both
                passed = _passed(node, [arrived.get(n) for n in range(len(handle._input_metadata))])
            del arrived
            for place, cotangent in enumerate(passed):
                if cotangent is None or not node.wanted[place]:
                    continue
                before, output = node.edges[place]
                if cotangent.values.dtype != usual:  # autograd hands on what has the dtype of the input
                    cotangent = cotangent.with_(cotangent.values.to(node.dtype(place)))
                if type(before) is _LEAF:
                    leaf, cotangent = before.variable, cotangent.whole()
                    at_leaves[leaf] = at_leaves[leaf].plus(cotangent, None) if leaf in at_leaves else cotangent
                    continue
                slots = pending.setdefault(before, {})
                slots[output] = slots[output].plus(cotangent, both) if output in slots else cotangent
        for leaf, cotangent in at_leaves.items():
            yield Arrived(leaf, cotangent)

    def _enter(self, one: Cotangent, units: Units) -> tuple[Layouts, Cotangents]:
        """Name the rows by their places in the sequence."""
        assert self._entry is not None
        entry, stops = self._entry, self.lengths(units.stops)
        shape = tuple(entry.node._saved_self_sym_sizes)
        both = Layouts(entry.index[units.own], stops, units.bounds, units.m, shape[entry.axis], one.values.device)
        return both, [Cotangent(one.values, shape, both.own, entry.axis)]


def _passed(node: Node, arrived: Cotangents) -> Cotangents:
    """The cotangents at the inputs of a node: by its rule, by rows if that may be, or by autograd."""
    rule = None if any(each is not None and each.values.is_complex() for each in arrived) else node.rule
    if rule is not None:
        try:
            return rule(node, arrived)
        except NotByRows:
            arrived = [None if each is None else each.whole() for each in arrived]
        except NoRule:
            return _by_autograd(node, arrived)
        try:
            return rule(node, arrived)
        except NoRule:
            pass
    return _by_autograd(node, arrived)


@torch.no_grad()
def _by_autograd(node: Node, arrived: Cotangents) -> Cotangents:
    """Ask the node itself, for all cotangents at once by vmap; for one after the other where vmap refuses."""
    cotangents = [None if each is None else each.whole().values for each in arrived]
    there = [values for values in cotangents if values is not None]
    wanted = [place for place, each in enumerate(node.wanted) if each]
    reached = [False] * len(wanted)

    def pull(*of_results: Tensor) -> tuple[Tensor, ...]:
        waiting = iter(of_results)
        pulled = _asked(node, [None if each is None else next(waiting) for each in cotangents])
        reached[:] = [pulled[place] is not None for place in wanted]
        return tuple(values for place in wanted if (values := pulled[place]) is not None)

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")
            pulled = torch.func.vmap(pull)(*there)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        pulled = tuple(map(torch.stack, zip(*map(pull, *there), strict=True)))
    waiting, passed = iter(pulled), list[Cotangent | None]([None] * len(node.wanted))
    for place, is_reached in zip(wanted, reached, strict=True):
        if is_reached:
            values = next(waiting)
            passed[place] = Cotangent(values, tuple(values.shape[1:])).reduced(node.shape(place))
    return passed


def _asked(node: Node, cotangents: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Ask a node for the cotangents at its inputs; a function of Python is asked by its own method."""
    if callable(node.node):
        pulled = node.node(*cotangents)
        return pulled if isinstance(pulled, tuple) else (pulled,)
    results = node.node._input_metadata
    example = next(each for each in cotangents if each is not None)
    pulled = node.node.apply(
        *(
            example.new_zeros(result.shape, dtype=result.dtype) if each is None else each
            for each, result in zip(cotangents, results, strict=True)
        )
    )
    of_inputs = iter(pulled if isinstance(pulled, tuple) else (pulled,))
    trained = iter([each for each, is_needed in zip(of_inputs, node.node.needs_input_grad, strict=True) if is_needed])
    return [None if before is None else next(trained) for before, _ in node.edges]
