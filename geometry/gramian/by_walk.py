"""A response by walks through its views' graphs: each view is run forward once, its graph serves every chunk of units.

What arrives at a weight in both views is made into Gram matrices at once, so that of a chunk about one layer is held.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from geometry.gramian.backward import Objectives, ProbedResponse, run_view
from geometry.gramian.by_autograd import columns_of, own_places, rows_of
from geometry.gramian.collected import Collected
from geometry.gramian.head import Head
from geometry.gramian.seeds import Seeds
from geometry.gramian.sweep.blocks import factors_of
from geometry.gramian.sweep.layout import block_bounds
from geometry.gramian.sweep.walk import Arrived, Units, Walk
from geometry.gramian.uses import Use
from geometry.gramian.watched import Watched
from geometry.gramian.working_set import WorkingSet

_ALIVE = 8
"""About so many times the gradients at the widest product are alive at a time."""


@dataclass
class _View:
    """One view of a response as it was run.

    objectives: whose gradients are taken from it. logits: at the n columns. uses: of weights, by the node at which
    their gradients arrive. head: the way through the head, to its own weights; None if it is no such product. below:
    the way from the hidden states, or from the logits without a head; None where nothing trains there.
    """

    objectives: Objectives
    logits: Tensor
    uses: dict[Any, list[Use]]
    head: Walk | None
    below: Walk | None
    hidden: Tensor | None = None


class ByWalk:
    """Measures one response after another.

    Args:
        watched: what is noted of the model as it runs.
        room: how many units go at once.
    """

    def __init__(self, watched: Watched, room: WorkingSet) -> None:
        self.room = room
        self._watched = watched
        self._views: list[_View] = []
        self._response: ProbedResponse | None = None
        self._columns = torch.zeros(0, dtype=torch.long)
        self._is_each_alone = False

    @contextmanager
    def each_alone(self) -> Iterator[None]:
        """Make a block of each unit, so that none holds rows behind its last token for the sake of another."""
        self._is_each_alone = True
        try:
            yield
        finally:
            self._is_each_alone = False

    def forget(self) -> None:
        """Forget what was seen of responses."""
        self.room.forget()

    def begin(self, response: ProbedResponse, weights: Tensor, direct: Tensor) -> None:
        """Run the views at the positions at which any unit has a weight."""
        self._views, self._response, self._columns = [], response, columns_of(weights)
        names = Seeds(weights[:, self._columns], response.cotangents, self._columns, direct).names
        for objectives, forward in response.views.items():
            run = partial(run_view, objectives, forward, response.positions[self._columns], response.n_ids)
            look = self._watched.run if self.room.knows(objectives) else self._watched.learn
            self._views.append(self._view(objectives, names(objectives), *look(run)))

    def _view(self, objectives: Objectives, names: Sequence[str], logits: Tensor, uses: Sequence[Use]) -> _View:
        rest, head = self._watched.rest(uses), Head.behind(logits)
        by_node: dict[Any, list[Use]] = {}
        for use in uses:
            by_node.setdefault(use.node, []).append(use)
        widest = max([1, *(use.nbytes for use in uses)]) + sum(parameter.nbytes for parameter in rest)
        self.room.note(objectives, len(objectives) * _ALIVE * widest)
        assert logits.grad_fn is not None
        end = GradientEdge(logits.grad_fn, logits.output_nr)
        if head is None:
            return _View(objectives, logits, by_node, None, Walk(end, list(by_node), rest))
        mine, others = head.parted(uses)
        view = _View(objectives, logits, by_node, Walk(end, [use.node for use in mine], [], head.nodes), None)
        if head.below is not None:
            assert self._response is not None
            cotangents = (getattr(self._response.cotangents, name)[self._columns].to(logits) for name in names)
            view.hidden = head.pull(logits, cotangents, [])[1]
            view.below = Walk(head.below, [use.node for use in others], rest)
        return view

    def end(self) -> bool:
        """Let the graphs go; return whether all chunks were right."""
        self._views, self._response = [], None
        return True

    @torch.no_grad()
    def chunk(self, collected: Collected, weights: Tensor, direct: Tensor) -> Mapping[str, Float64[Tensor, "U 4 4"]]:
        """Return the Gram matrices of some units by group.

        weights: of units by ascending last token.
        """
        assert self._response is not None
        seeds = Seeds(weights[:, self._columns], self._response.cotangents, self._columns, direct)
        own, stops = own_places(seeds.weights), _stops(seeds.weights)
        below = self._views[-1].below
        lengths = stops if below is None else below.lengths(stops)
        bounds = list(range(len(stops) + 1)) if self._is_each_alone else block_bounds(lengths)
        rest = {leaf for view in self._views if view.below for leaf in view.below.leaves}
        waiting = Counter(use.parameter for view in self._views for uses in view.uses.values() for use in uses)
        walks = [self._arriving(view, seeds, Units(own, stops, bounds, len(view.objectives))) for view in self._views]
        with self.room.measured(len(weights)):
            for step in zip_longest(*walks):
                for view, arrived in (each for each in step if each is not None):
                    self._collect(collected, view, arrived, bounds, waiting, rest)
            return {name: seeds.in_basis(gram) for name, gram in collected.grams().items()}

    def _arriving(self, view: _View, seeds: Seeds, units: Units) -> Iterator[tuple[_View, Arrived]]:
        if view.head is not None:
            rows = seeds.at_own(units.own, view.objectives, view.logits)
            yield from ((view, arrived) for arrived in view.head.back(rows.flatten(0, 2), units))
        if view.below is not None:
            if view.hidden is None:
                rows = seeds.at_own(units.own, view.objectives, view.logits)
            else:
                rows = seeds.at_places(view.hidden, units.own, view.objectives)
            yield from ((view, arrived) for arrived in view.below.back(rows.flatten(0, 2), units))

    def _collect(
        self,
        collected: Collected,
        view: _View,
        arrived: Arrived,
        bounds: Sequence[int],
        waiting: Counter[nn.Parameter],
        rest: set[nn.Parameter],
    ) -> None:
        if isinstance(arrived.source, nn.Parameter):
            collected.add_gradients(arrived.source, arrived.cotangent.values, rows_of(view.objectives))
            return
        for use in view.uses[arrived.source]:
            collected.add(use.parameter, use.part, factors_of(use, arrived.cotangent, rows_of(view.objectives), bounds))
            waiting[use.parameter] -= 1
            if not waiting[use.parameter] and use.parameter not in rest:
                collected.settle(use.parameter)


def _stops(weights: Tensor) -> list[int]:
    """Behind the last column of each unit."""
    places = torch.arange(1, weights.shape[1] + 1)
    return (weights.ne(0) * places).amax(dim=1).clamp_min(1).tolist()
