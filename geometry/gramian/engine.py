"""Exact Gram matrices of the objectives' parameter gradients, without ever holding a gradient of the model.

A *unit* is a row of token weights: its gradient of objective `k` is
`sum_t weights[t] d<cotangent_k[t], logits[t]> / d theta`. Four backward passes give every objective (see
`geometry.gram`). Those of a chunk of units run as one and stop at the outputs of the
modules; there the Gram matrix of each weight is formed from its factors (see `factors`), and the factors are freed.
Matrices that belong to no known module, such as a stack of experts or a scaled embedding, are followed through the
graph to the same factors. All else has its gradients taken as they are: the small parameters of norms and biases, and
matrices that are used in ways that are not known.

A token's gradient touches only the positions up to it. Units are therefore ordered by their last position, and each
chunk runs the sequence only as far as it needs. Products are taken in float32 within a weight (float64 if the model
is), a block of numbers at a time, and summed in float64.

A group is a named list of parameters; the whole model is the sum over groups, `total`.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from geometry._checks import Groups, partition
from geometry.gram import BASIS, Gram
from geometry.gramian.backward import Forward, ProbedResponse, Seeds, check_weights, gradients, run_view
from geometry.gramian.graph import Graph
from geometry.gramian.module_inputs import ModuleInputs, unaccounted
from geometry.gramian.uses import Part, Use
from geometry.gramian.weight_gramians import Factors, grams_of_rows, weight_gradients, weight_grams

Objectives = tuple[str, ...]

WORKING_SET_BYTES = 1 << 26  # of the factors of one chunk


class Gramian:
    """The Gram matrices of the units of one model; what one call learns about the model serves the next.

    Args:
        model: the student. Its modules are watched during a call and left as they were.
        groups: disjoint lists of trainable parameters. One that a view does not reach has gradient 0 there; those
            in no group take no part.
        chunk: units a backward pass; by default as many as keep the factors within `WORKING_SET_BYTES`.
        batched: run the backward passes of a chunk as one, by vmap. Turn off for operations that vmap refuses.
        metric: the inner product is `sum_i m_i g_i g'_i`, m given for each parameter (see `adam_metric`); 1 by
            default. With it the gradients of one weight at a time are formed.

    Raises:
        ValueError: a parameter stands in two groups or is frozen, chunk is below 1, or the metric lacks a parameter
            or has another shape.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Groups,
        *,
        chunk: int | None = None,
        batched: bool = True,
        metric: Mapping[nn.Parameter, Tensor] | None = None,
    ) -> None:
        if chunk is not None and chunk < 1:
            raise ValueError(f"`chunk` must be at least 1 unit, got {chunk}.")
        self.batched = batched
        self.parameters = partition(groups)
        self.owner = {parameter: name for name, members in groups.items() for parameter in members}
        self.metric = None if metric is None else _fitted(metric, self.parameters)
        self.capture = ModuleInputs(model, self.parameters)
        self.reached: set[nn.Parameter] = set()
        self.dense_matrices: set[nn.Parameter] = set()
        self._model, self._names, self._chunk = model, list(groups), chunk
        self._bytes_a_unit: dict[Objectives, int] = {}

    def unreached(self) -> list[str]:
        """Names of the parameters in groups that no backward pass has reached so far."""
        missing = set(self.parameters) - self.reached
        return [name for name, parameter in self._model.named_parameters() if parameter in missing]

    def units(self, response: ProbedResponse, weights: Float[Tensor, "U _n"]) -> dict[str, Gram]:
        """Return the Gram matrices `[U, 4, 4]` of the basis gradients of each unit, per parameter group.

        Args:
            weights: for each unit a row of weights of the response's probed positions: one-hot for a token, the loss's
                weights for a set of tokens.

        Raises:
            ValueError: a shape does not fit, or logits have no graph.
        """
        check_weights(weights, response)
        grams = {name: torch.zeros(len(weights), 4, 4, dtype=torch.float64) for name in self._names}
        order = _by_last_position(weights)
        self._prepare(response, weights)
        while len(order):
            size = self._chunk or self._fitting(response.views)
            chunk, order = order[:size], order[size:]
            work = _Chunk(self, response, weights[chunk])
            for objectives, forward in response.views.items():
                work.run(objectives, forward)
            for name, gram in work.grams().items():
                grams[name][chunk] = gram.cpu()
        return {name: Gram(gram) for name, gram in grams.items()}

    def _prepare(self, response: ProbedResponse, weights: Tensor) -> None:
        """Run each kind of view once, to see which weights are used in ways that are not known, and what it costs."""
        positions = response.positions[_columns(weights)]
        for objectives, forward in response.views.items():
            if objectives not in self._bytes_a_unit:
                logits, uses = self.capture.run(partial(run_view, objectives, forward, positions, response.n_ids))
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

    def measure(self, objectives: Objectives, uses: Sequence[Use]) -> None:
        """Note what one unit takes in a view, in factors and in dense gradients of matrices: the most that was met."""
        dense = sum(parameter.nbytes for parameter in self.dense_matrices)
        found = len(objectives) * (sum(use.nbytes for use in uses) + dense)
        self._bytes_a_unit[objectives] = max(found, self._bytes_a_unit.get(objectives, 1))

    def _fitting(self, views: Iterable[Objectives]) -> int:
        return max(WORKING_SET_BYTES // sum(self._bytes_a_unit[view] for view in views), 1)


class _Chunk:
    """A chunk of units, forward and backward through the views, and what comes of each parameter."""

    def __init__(self, engine: Gramian, response: ProbedResponse, weights: Tensor) -> None:
        columns = _columns(weights)
        self._engine, self._n_ids, self._positions = engine, response.n_ids, response.positions[columns]
        self._seeds = Seeds.weighed(weights[:, columns], response.cotangents.at(columns))
        self._uses: dict[nn.Parameter, dict[Part, list[Factors]]] = {}
        self._rest: dict[nn.Parameter, Tensor] = {}

    def run(self, objectives: Objectives, forward: Forward) -> None:
        """Run one view."""
        capture, n_units = self._engine.capture, len(self._seeds.weights)
        logits, by_module = capture.run(partial(run_view, objectives, forward, self._positions, self._n_ids))
        by_graph = self._engine.read_off(logits)
        uses: list[Use] = [*by_module, *by_graph]
        self._engine.measure(objectives, uses)
        factored = {use.parameter for use in by_graph}
        rest = [parameter for parameter in capture.rest if parameter not in factored]
        cotangents = self._seeds.of_view(objectives, logits)
        found = gradients(logits, cotangents, [*(use.source for use in uses), *rest], self._engine.batched)
        rows = tuple(BASIS.index(objective) for objective in objectives)
        for use in uses:
            if (gradient := found.pop(0)) is not None:
                parts = self._uses.setdefault(use.parameter, {})
                parts.setdefault(use.part, []).append(use.factors(gradient, rows))
        for parameter, gradient in zip(rest, found, strict=True):
            if gradient is not None:
                held = self._rest.setdefault(parameter, gradient.new_zeros(n_units, 4, parameter.numel()))
                held[:, rows[0] : rows[-1] + 1] = gradient.reshape(n_units, len(rows), -1)

    def grams(self) -> dict[str, Float64[Tensor, "U 4 4"]]:
        """Return the Gram matrices per group; what they are made from is let go on the way."""
        grams: dict[str, Tensor] = {}
        self._engine.reached.update(self._uses, self._rest)
        while self._uses:
            parameter, parts = self._uses.popitem()
            if parameter in self._rest or len({part.matrix for part in parts}) < len(parts):
                self._make_dense(parameter, parts)
                continue
            metric = self._metric(parameter)
            for part, uses in parts.items():
                within = None if metric is None else part.within(metric)
                _add(grams, self._engine.owner[parameter], weight_grams(uses, within))
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
        held = self._rest.setdefault(parameter, example.new_zeros(shape)).unflatten(-1, parameter.shape)
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


def adam_metric(
    second_moments: Mapping[nn.Parameter, Tensor], eps: float = 1e-8
) -> dict[nn.Parameter, Float[Tensor, "..."]]:
    """Return `1 / (sqrt(v) + eps)` for each parameter: the inner product in which Adam's step is the steepest one.

    Args:
        second_moments: Adam's running means of squared gradients, bias-corrected.
        eps: Adam's.
    """
    return {parameter: 1.0 / (moment.sqrt() + eps) for parameter, moment in second_moments.items()}


def _fitted(metric: Mapping[nn.Parameter, Tensor], parameters: Sequence[nn.Parameter]) -> dict[nn.Parameter, Tensor]:
    """The metric of the parameters that are measured."""
    for parameter in parameters:
        found = tuple(metric[parameter].shape) if parameter in metric else None
        if found != tuple(parameter.shape):
            raise ValueError(
                f"`metric` must have the shape of every parameter, got {found} for {tuple(parameter.shape)}. "
                "Give the optimizer's state of the model that is measured."
            )
    return {parameter: metric[parameter] for parameter in parameters}


def _columns(weights: Tensor) -> Tensor:
    """The columns in which any unit has a weight; the first alone where there is none."""
    found = weights.any(dim=0).nonzero().squeeze(1)
    return found if len(found) else torch.zeros(1, dtype=torch.long, device=weights.device)


def _by_last_position(weights: Tensor) -> Tensor:
    """The order of the units by the last position that they have a weight at."""
    places = torch.arange(1, weights.shape[1] + 1, device=weights.device)
    return (weights.ne(0) * places).amax(dim=1).argsort(stable=True)
