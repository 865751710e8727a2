"""A chunk of units by autograd: each view forward up to the last token of the chunk, and one batched backward pass."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float64, Int
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from geometry.gram import BASIS
from geometry.gramian.backward import Objectives, ProbedResponse, gradients, run_view
from geometry.gramian.collected import Collected
from geometry.gramian.head import Head
from geometry.gramian.packing import Packing
from geometry.gramian.seeds import Seeds
from geometry.gramian.uses import Part, Use
from geometry.gramian.watched import Watched
from geometry.gramian.working_set import WorkingSet


class ByAutograd:
    """Measures one response after another.

    Args:
        watched: what is noted of the model as it runs.
        room: how many units go at once.
        packing: makes what keeps the positions with a gradient.
        batched: run the backward passes as one, by vmap.
    """

    def __init__(self, watched: Watched, room: WorkingSet, packing: Callable[[], Packing], batched: bool) -> None:
        self.room, self.packing = room, packing()
        self._watched, self._new_packing, self._batched = watched, packing, batched
        self._response: ProbedResponse | None = None

    def forget(self) -> None:
        """Forget what was seen of responses."""
        self.room.forget()
        self.packing = self._new_packing()

    def begin(self, response: ProbedResponse, weights: Tensor, direct: Tensor) -> None:
        """Run each kind of view once, to see which weights are used in ways that are not known, and what it costs."""
        self._response = response
        last = columns_of(weights)[-1:]
        for objectives, forward in response.views.items():
            if not self.room.knows(objectives):
                run = partial(run_view, objectives, forward, response.positions[last], response.n_ids)
                self._measure(objectives, self._watched.learn(run)[1])

    def end(self) -> bool:
        """Return whether all chunks were right."""
        self._response = None
        return self.packing.was_right()

    def chunk(self, collected: Collected, weights: Tensor, direct: Tensor) -> Mapping[str, Float64[Tensor, "U 4 4"]]:
        """Return the Gram matrices of some units by group."""
        response = self._response
        assert response is not None
        columns = columns_of(weights)
        seeds = Seeds(weights[:, columns], response.cotangents, columns, direct)
        with self.room.measured(len(weights)) as mark:
            for objectives, forward in response.views.items():
                run = partial(run_view, objectives, forward, response.positions[columns], response.n_ids)
                mark()
                logits, uses = self._watched.run(run)
                mark()
                self._back(collected, seeds, objectives, logits, uses)
            return {name: seeds.in_basis(gram) for name, gram in collected.grams().items()}

    def _back(
        self, collected: Collected, seeds: Seeds, objectives: Objectives, logits: Tensor, uses: Sequence[Use]
    ) -> None:
        """Take the seeds back through one view."""
        rows, rest = rows_of(objectives), self._watched.rest(uses)
        own = own_places(seeds.weights)
        start, at_start, uses = self._start(collected, seeds, own, objectives, logits, uses)
        sources = [*(use.source for use in uses), *rest]
        pulled = [] if start is None else gradients(start, at_start, sources, self._batched)
        times = Counter[tuple[nn.Parameter, Part]]()
        for use in uses if pulled else []:
            times[use.parameter, use.part] += 1
            if (gradient := pulled.pop(0)) is not None:
                name = (objectives, use.parameter, use.part, times[use.parameter, use.part])
                factors = self.packing.packed(name, use.factors(gradient, rows), own.shape[1])
                collected.add(use.parameter, use.part, [factors])
        for parameter, gradient in zip(rest, pulled, strict=bool(pulled)):
            if gradient is not None:
                collected.add_gradients(parameter, gradient, rows)

    def _start(
        self,
        collected: Collected,
        seeds: Seeds,
        own: Tensor,
        objectives: Objectives,
        logits: Tensor,
        uses: Sequence[Use],
    ) -> tuple[Tensor | GradientEdge | None, Tensor, Sequence[Use]]:
        """Where the backward passes of the units start, their seeds there, and the uses that are still to be met.

        They start at the hidden states below the head, where there is one.
        """
        head = Head.behind(logits)
        if head is None:
            self._measure(objectives, uses, logits.nbytes)
            return logits, seeds.of_view(objectives, logits), uses
        mine, others = head.parted(uses)
        at_logits = (seeds.at_logits(name, logits) for name in seeds.names(objectives))
        at_uses, hidden = head.pull(logits, at_logits, mine)
        for use, outputs in zip(mine, at_uses, strict=True):
            at_own = seeds.at_places(outputs, own, objectives)
            collected.add(use.parameter, use.part, [use.factors_at(own, at_own, rows_of(objectives))])
        self._measure(objectives, others, sum(use.nbytes for use in mine) * own.shape[1] // len(logits))
        return head.below, logits if hidden is None else seeds.spread(hidden, objectives), others

    def _measure(self, objectives: Objectives, uses: Sequence[Use], at_logits: int = 0) -> None:
        """Note what one unit takes in a view: in factors, in dense gradients of matrices, and at the logits."""
        dense = sum(parameter.nbytes for parameter in self._watched.dense_matrices)
        self.room.note(objectives, len(objectives) * (sum(use.nbytes for use in uses) + dense + at_logits))


def rows_of(objectives: Objectives) -> tuple[int, ...]:
    """Return the places of objectives in `BASIS`."""
    return tuple(BASIS.index(objective) for objective in objectives)


def columns_of(weights: Tensor) -> Int[Tensor, " n"]:
    """Return the columns in which any unit has a weight; the first alone where there is none."""
    columns = weights.any(dim=0).nonzero().squeeze(1)
    return columns if len(columns) else torch.zeros(1, dtype=torch.long)


def own_places(weights: Tensor) -> Int[Tensor, "U s"]:
    """Return the columns of each unit's tokens; units of fewer tokens than s have some without a weight besides."""
    filled = weights.ne(0)
    return filled.to(torch.int8).topk(max(int(filled.sum(-1).max()), 1), dim=-1).indices
