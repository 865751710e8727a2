"""Exact Gram matrices of the objectives' parameter gradients, without ever holding a gradient of the model.

A *unit* is a row of token weights: its gradient of objective `k` is
`sum_t weights[t] d<cotangent_k[t], logits[t]> / d theta`. Four backward passes give every objective (see
`geometry.gram`). Those of a chunk of units run as one and stop at the outputs of the
modules; there the Gram matrix of each weight is formed from its factors (see `weight_gramians`), and the factors are
freed. Down to the hidden states below the head one pass of each objective serves all units (see `head`).
Matrices that belong to no known module, such as a stack of experts or a scaled embedding, are followed through the
graph to the same factors. All else has its gradients taken as they are: the small parameters of norms and biases, and
matrices that are used in ways that are not known.

A token's gradient touches only the positions up to it. Units are therefore ordered by their last position, and each
chunk runs the sequence only as far as it needs. Products are taken in float32 within a weight (float64 if the model
is; see `wide` for models in 16 bits), a block of numbers at a time, and summed in float64.

A group is a named list of parameters; the whole model is the sum over groups, `total`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from geometry._checks import Groups, partition
from geometry.gram import BASIS, Gram
from geometry.gramian.backward import Forward, ProbedResponse, check_weights, gradients, run_view
from geometry.gramian.graph import Graph
from geometry.gramian.head import Head
from geometry.gramian.metric import fitted
from geometry.gramian.module_inputs import ModuleInputs, unaccounted
from geometry.gramian.packing import Packing
from geometry.gramian.seeds import Seeds, cancelling
from geometry.gramian.sketch import Sketch
from geometry.gramian.uses import Part, Use
from geometry.gramian.weight_gramians import Factors, grams_of_rows, weight_gradients, weight_grams
from geometry.gramian.wide import wide_zeros
from geometry.gramian.working_set import WorkingSet
from geometry.memory import is_out_of_memory

Objectives = tuple[str, ...]


class Gramian:
    """The Gram matrices of the units of one model; what one call learns about the model serves the next.

    Args:
        model: the student. Its modules are watched during a call and left as they were.
        groups: disjoint lists of trainable parameters. One that a view does not reach has gradient 0 there; those
            in no group take no part.
        chunk: units a backward pass; by default as many as memory holds (see `working_set`).
        batched: run the backward passes of a chunk as one, by vmap. Turn off for operations that vmap refuses.
        metric: the inner product is `sum_i m_i g_i g'_i`, m given for each parameter (see `adam_metric`); 1 by
            default. With it the gradients of one weight at a time are formed.
        sketch: estimate the products of weights wider than this from as many random combinations of their columns
            (see `sketch`); exact by default.
        seed: of these combinations.
        say: is told, in a line, that memory ran out and chunks are smaller from there on.

    Raises:
        ValueError: a parameter stands in two groups or is frozen, chunk or sketch is below 1, the metric lacks a
            parameter or has another shape, or there is a metric and a sketch.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Groups,
        *,
        chunk: int | None = None,
        batched: bool = True,
        metric: Mapping[nn.Parameter, Tensor] | None = None,
        sketch: int | None = None,
        seed: int = 0,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        if chunk is not None and chunk < 1:
            raise ValueError(f"`chunk` must be at least 1 unit, got {chunk}.")
        if sketch is not None and metric is not None:
            raise ValueError("`sketch` forms no gradients, and `metric` weighs each of their entries: leave one out.")
        self.batched = batched
        self.parameters = partition(groups)
        self.owner = {parameter: name for name, members in groups.items() for parameter in members}
        self.metric = None if metric is None else fitted(metric, self.parameters)
        self.sketch = None if sketch is None else Sketch.of_model(model, self.parameters, sketch, seed)
        self.capture = ModuleInputs(model, self.parameters)
        self.reached: set[nn.Parameter] = set()
        self.dense_matrices: set[nn.Parameter] = set()
        self.packing = Packing(always=self.sketch is not None)
        self.room = WorkingSet(self.parameters[0].device, chunk, say)
        self._model, self._names = model, list(groups)

    def unreached(self) -> list[str]:
        """Names of the parameters in groups that no backward pass has reached so far."""
        missing = set(self.parameters) - self.reached
        return [name for name, parameter in self._model.named_parameters() if parameter in missing]

    def forget(self) -> None:
        """Forget what was seen of responses, so that no bit of a number depends on those of earlier calls."""
        self.room.forget()
        self.packing = Packing(always=self.sketch is not None)

    def units(self, response: ProbedResponse, weights: Float[Tensor, "U _n"]) -> dict[str, Gram]:
        """Return the Gram matrices `[U, 4, 4]` of the basis gradients of each unit, per parameter group.

        Args:
            weights: for each unit a row of weights of the response's probed positions: one-hot for a token, the loss's
                weights for a set of tokens.

        Raises:
            ValueError: a shape does not fit, or logits have no graph.
            MemoryError: the gradients of one unit do not fit into memory.
        """
        check_weights(weights, response)
        response, weights = replace(response, positions=response.positions.cpu()), weights.cpu()
        self.room.look()
        self._prepare(response, weights)
        values = self._measured(response, weights)
        if not self.packing.was_right():
            values = self._measured(response, weights)
        return {name: Gram(gram) for name, gram in zip(self._names, values.cpu(), strict=True)}

    def _measured(self, response: ProbedResponse, weights: Tensor) -> Float64[Tensor, "G U 4 4"]:
        """The Gram matrices of each group, on the device; nothing waits for it until all chunks are on their way."""
        order, start = _by_last_position(weights), 0
        chunks = [torch.zeros(len(self._names), 0, 4, 4, dtype=torch.float64, device=self.parameters[0].device)]
        direct = cancelling(weights, response.cotangents)
        while start < len(order):
            units = order[start : start + self.room.size]
            try:
                chunks.append(self._chunk(response, weights[units], direct[units]))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            else:
                start += len(units)
                continue
            self.room.halve(len(units))  # outside of the handler, whose error holds the tensors of the chunk
        return torch.cat(chunks, dim=1)[:, order.argsort()]

    def _chunk(self, response: ProbedResponse, weights: Tensor, direct: Tensor) -> Float64[Tensor, "G U 4 4"]:
        with self.room.measured(len(weights)) as mark:
            work = _Chunk(self, response, weights, direct)
            for objectives, forward in response.views.items():
                work.run(objectives, forward, mark)
            grams = work.grams()
        nothing = torch.zeros(len(weights), 4, 4, dtype=torch.float64, device=self.parameters[0].device)
        return torch.stack([grams.get(name, nothing) for name in self._names])

    def _prepare(self, response: ProbedResponse, weights: Tensor) -> None:
        """Run each kind of view once, to see which weights are used in ways that are not known, and what it costs."""
        last = _columns(weights[_by_last_position(weights)[-1:]])
        for objectives, forward in response.views.items():
            if not self.room.knows(objectives):
                run = partial(run_view, objectives, forward, response.positions[last], response.n_ids)
                logits, uses = self.capture.run(run)
                self.capture.drop(unaccounted(Graph.behind(logits), uses, self.capture.known))
                self.measure(objectives, [*uses, *self.read_off(logits)])

    def read_off(self, logits: Tensor) -> list[Use]:
        """Return the uses of matrices that no module is watched for; note those that have no factors."""
        rest = [p for p in self.capture.rest if p.ndim > 1 and p not in self.dense_matrices]
        if not rest:
            return []
        uses, left_out = Graph.behind(logits).uses(rest)
        self.dense_matrices |= left_out
        return uses

    def measure(self, objectives: Objectives, uses: Sequence[Use], at_logits: int = 0) -> None:
        """Note what one unit takes in a view: in factors, in dense gradients of matrices, and at the logits."""
        dense = sum(parameter.nbytes for parameter in self.dense_matrices)
        self.room.note(objectives, len(objectives) * (sum(use.nbytes for use in uses) + dense + at_logits))


class _Chunk:
    """A chunk of units, forward and backward through the views, and what comes of each parameter."""

    def __init__(self, engine: Gramian, response: ProbedResponse, weights: Tensor, direct: Tensor) -> None:
        columns = _columns(weights)
        self._engine, self._n_ids, self._positions = engine, response.n_ids, response.positions[columns]
        self._seeds = Seeds(weights[:, columns], response.cotangents, columns, direct)
        self._own = _own_places(self._seeds.weights)
        self._uses: dict[nn.Parameter, dict[Part, list[Factors]]] = {}
        self._rest: dict[nn.Parameter, Tensor] = {}

    def run(self, objectives: Objectives, forward: Forward, mark: Callable[[], None]) -> None:
        """Run one view; `mark` is called before its forward pass and after it."""
        capture, rows = self._engine.capture, tuple(BASIS.index(objective) for objective in objectives)
        mark()
        logits, by_module = capture.run(partial(run_view, objectives, forward, self._positions, self._n_ids))
        mark()
        by_graph = self._engine.read_off(logits)
        uses: list[Use] = [*by_module, *by_graph]
        factored = {use.parameter for use in by_graph}
        rest = [parameter for parameter in capture.rest if parameter not in factored]
        start, seeds, uses = self._start(objectives, logits, uses)
        sources = [*(use.source for use in uses), *rest]
        pulled = [] if start is None else gradients(start, seeds, sources, self._engine.batched)
        times = Counter[tuple[nn.Parameter, Part]]()
        for use in uses if pulled else []:
            times[use.parameter, use.part] += 1
            if (gradient := pulled.pop(0)) is not None:
                name = (objectives, use.parameter, use.part, times[use.parameter, use.part])
                self._add(use, self._engine.packing.packed(name, use.factors(gradient, rows), self._own.shape[1]))
        for parameter, gradient in zip(rest, pulled, strict=bool(pulled)):
            if gradient is not None:
                shape = (len(self._seeds.weights), 4, parameter.numel())
                held = self._rest.setdefault(parameter, wide_zeros(gradient, *shape))
                held[:, rows[0] : rows[-1] + 1] = gradient.reshape(shape[0], len(rows), -1)

    def _start(
        self, objectives: Objectives, logits: Tensor, uses: list[Use]
    ) -> tuple[Tensor | GradientEdge | None, Tensor, list[Use]]:
        """Where the backward passes of the units start, their seeds there, and the uses that are still to be met.

        They start at the hidden states below the head, where there is one.
        """
        head = Head.behind(logits)
        if head is None:
            self._engine.measure(objectives, uses, logits.nbytes)
            return logits, self._seeds.of_view(objectives, logits), uses
        mine, others = head.parted(uses)
        names, rows = self._seeds.names(objectives), tuple(BASIS.index(objective) for objective in objectives)
        at_uses, hidden = head.pull(logits, (self._seeds.at_logits(name, logits) for name in names), mine)
        for use, outputs in zip(mine, at_uses, strict=True):
            at_own = self._seeds.at_places(outputs, self._own, objectives)
            self._add(use, use.factors_at(self._own, at_own, rows))
        self._engine.measure(objectives, others, sum(use.nbytes for use in mine) * self._own.shape[1] // len(logits))
        return head.below, logits if hidden is None else self._seeds.spread(hidden, objectives), others

    def _add(self, use: Use, factors: Factors) -> None:
        self._uses.setdefault(use.parameter, {}).setdefault(use.part, []).append(factors)

    def grams(self) -> dict[str, Float64[Tensor, "U 4 4"]]:
        """Return the Gram matrices per group; what they are made from is let go on the way."""
        grams: dict[str, Tensor] = {}
        self._engine.reached.update(self._uses, self._rest)
        while self._uses:
            parameter, parts = self._uses.popitem()
            if parameter in self._rest or len({part.matrix for part in parts}) < len(parts):
                self._make_dense(parameter, parts)
                continue
            metric, sketch = self._metric(parameter), self._engine.sketch
            for part, uses in parts.items():
                within = None if metric is None else part.within(metric)
                factors = uses if sketch is None else sketch.sketched(parameter, part, uses)
                _add(grams, self._engine.owner[parameter], weight_grams(factors, within))
        for parameter in [parameter for parameter in self._rest if parameter.ndim > 1]:
            gram = grams_of_rows(self._rest.pop(parameter), self._metric(parameter))
            _add(grams, self._engine.owner[parameter], gram)
        for name, parameters in self._dense_groups().items():
            rows = torch.cat([self._rest[parameter] for parameter in parameters], dim=-1).double()
            metrics = [metric.flatten() for p in parameters if (metric := self._metric(p)) is not None]
            _add(grams, name, grams_of_rows(rows, torch.cat(metrics) if metrics else None))
        return {name: self._seeds.in_basis(gram) for name, gram in grams.items()}

    def _make_dense(self, parameter: nn.Parameter, parts: dict[Part, list[Factors]]) -> None:
        """Add up the gradients of a parameter that has no factors in the other view, or is also used transposed."""
        example = next(iter(parts.values()))[0].outputs
        shape = (len(self._seeds.weights), 4, parameter.numel())
        held = self._rest.setdefault(parameter, wide_zeros(example, *shape)).unflatten(-1, parameter.shape)
        for part, uses in parts.items():
            within = part.within(held)
            within += weight_gradients(uses).unflatten(-1, uses[0].weight.shape)

    def _dense_groups(self) -> dict[str, list[nn.Parameter]]:
        groups: dict[str, list[nn.Parameter]] = {}
        for parameter in self._rest:
            groups.setdefault(self._engine.owner[parameter], []).append(parameter)
        return groups

    def _metric(self, parameter: nn.Parameter) -> Tensor | None:
        return self._engine.metric[parameter] if self._engine.metric else None


def _add(grams: dict[str, Tensor], name: str, gram: Tensor) -> None:
    grams[name] = grams[name] + gram if name in grams else gram


def _columns(weights: Tensor) -> Tensor:
    """The columns in which any unit has a weight; the first alone where there is none."""
    columns = weights.any(dim=0).nonzero().squeeze(1)
    return columns if len(columns) else torch.zeros(1, dtype=torch.long)


def _own_places(weights: Tensor) -> Tensor:
    """The columns of each unit's tokens `[U, s]`; units of fewer tokens than s have some without a weight besides."""
    filled = weights.ne(0)
    return filled.to(torch.int8).topk(max(int(filled.sum(-1).max()), 1), dim=-1).indices


def _by_last_position(weights: Tensor) -> Tensor:
    """The order of the units by the last position that they have a weight at."""
    places = torch.arange(1, weights.shape[1] + 1)
    return (weights.ne(0) * places).amax(dim=1).argsort(stable=True)
