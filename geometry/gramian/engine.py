"""Exact Gram matrices of the objectives' parameter gradients, without ever holding a gradient of the model.

A *unit* is a row of token weights: its gradient of objective `k` is
`sum_t weights[t] d<cotangent_k[t], logits[t]> / d theta`. Four backward passes give every objective (see
`geometry.gram`). Those of a chunk of units run as one and stop at the outputs of the
modules; there the Gram matrix of each weight is formed from its factors (see `weight_gramians`), and the factors are
freed. Down to the hidden states below the head one pass of each objective serves all units (see `head`).
Matrices that belong to no known module, such as a stack of experts or a scaled embedding, are followed through the
graph to the same factors. All else has its gradients taken as they are: the small parameters of norms and biases, and
matrices that are used in ways that are not known.

There are two ways through a graph: our own walk (`by_walk`), which takes many cotangents at once and those rows alone
that are not 0, and autograd's (`by_autograd`). The first is checked against the second on the first response, and where
a response is twice as long as any that was checked; a model on which they differ is measured by autograd.

A token's gradient touches only the positions up to it. Units are therefore ordered by their last position, and each
chunk runs the sequence only as far as it needs. Products are taken in float32 within a weight (float64 if the model
is; see `wide` for models in 16 bits), a block of numbers at a time, and summed in float64.

A group is a named list of parameters; the whole model is the sum over groups, `total`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from geometry._checks import Groups, partition
from geometry.gram import Gram
from geometry.gramian.backward import ProbedResponse, check_weights
from geometry.gramian.by_autograd import ByAutograd, columns_of
from geometry.gramian.by_walk import ByWalk
from geometry.gramian.collected import Collected
from geometry.gramian.metric import fitted
from geometry.gramian.packing import Packing
from geometry.gramian.seeds import cancelling
from geometry.gramian.sketch import Sketch
from geometry.gramian.watched import Watched
from geometry.gramian.working_set import WorkingSet
from geometry.memory import is_out_of_memory

_AGREE = {torch.float64: 1e-9, torch.float32: 2e-5}
"""By how much the two ways may differ, as a part of the product of the norms; 16 bits: `_AGREE_HALF`."""
_AGREE_HALF = 3e-2
_FAULTS = (RuntimeError, LookupError, TypeError, ValueError, AttributeError)
_LONGER = 2  # times the length that was checked


Way = Literal["walk", "autograd"]
"""Through a view's graph: our own walk where that agrees with autograd, or autograd alone."""


class Gramian:
    """The Gram matrices of the units of one model; what one call learns about the model serves the next.

    Args:
        model: the student. Its modules are watched during a call and left as they were.
        groups: disjoint lists of trainable parameters. One that a view does not reach has gradient 0 there; those
            in no group take no part.
        chunk: units a backward pass; by default as many as memory holds (see `working_set`).
        way: through the graphs.
        batched: run autograd's backward passes of a chunk as one, by vmap. Turn off for operations that vmap refuses.
        metric: the inner product is `sum_i m_i g_i g'_i`, m given for each parameter (see `adam_metric`); 1 by
            default. With it the gradients of one weight at a time are formed.
        sketch: estimate the products of weights wider than this from as many random combinations of their columns
            (see `sketch`); exact by default.
        seed: of these combinations.
        say: is told, in a line, that memory ran out and chunks are smaller from there on, or that a model is measured
            by autograd.

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
        way: Way = "walk",
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
        self.parameters = partition(groups)
        self.owner = {parameter: name for name, members in groups.items() for parameter in members}
        self.metric = None if metric is None else fitted(metric, self.parameters)
        self.sketch = None if sketch is None else Sketch.of_model(model, self.parameters, sketch, seed)
        self.watched = Watched(model, self.parameters)
        self.reached: set[nn.Parameter] = set()
        self._model, self._names, self._say, self._device = model, list(groups), say, self.parameters[0].device
        packing = partial(Packing, always=sketch is not None)
        self.autograd = ByAutograd(self.watched, WorkingSet(self._device, chunk, say), packing, batched)
        self.walk = ByWalk(self.watched, WorkingSet(self._device, chunk, say))
        self.way: ByWalk | ByAutograd = self.walk if way == "walk" else self.autograd
        self._checked_length: dict[int, int] = {}  # by the number of views

    def unreached(self) -> list[str]:
        """Names of the parameters in groups that no backward pass has reached so far."""
        missing = set(self.parameters) - self.reached
        return [name for name, parameter in self._model.named_parameters() if parameter in missing]

    def forget(self) -> None:
        """Forget what was seen of responses, so that no bit of a number depends on those of earlier calls."""
        self.autograd.forget()
        self.walk.forget()

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
        if self.way is self.walk:
            self._check(response, weights)
        values = self._measured(self.way, response, weights)
        return {name: Gram(gram) for name, gram in zip(self._names, values.cpu(), strict=True)}

    def _check(self, response: ProbedResponse, weights: Tensor) -> None:
        """See whether the walk agrees with autograd, if the response is longer than those before with its views."""
        length, checked = int(response.positions[-1]) + 1, self._checked_length.get(len(response.views), 0)
        if not len(weights) or length < _LONGER * checked:
            return
        ends = _ends(weights)
        sketch, self.sketch = self.sketch, None  # of exact products alone the two must agree
        try:
            walked, fault = self._tried_walk(response, ends)
            apart = torch.inf if walked is None else _apart(walked, self._measured(self.autograd, response, ends))
        finally:
            self.sketch = sketch
        if apart > _AGREE.get(self.parameters[0].dtype, _AGREE_HALF):
            self.way = self.autograd
            self.way.forget()  # what the two units have told of positions with a gradient
            what = f"meets {fault}" if fault else f"is {apart:.1e} off"
            self._say(f"measured by autograd, slower: the walk through this model's graph {what}")
        self._checked_length[len(response.views)] = length

    def _tried_walk(self, response: ProbedResponse, weights: Tensor) -> tuple[Float64[Tensor, "G U 4 4"] | None, str]:
        """The Gram matrices by our own walk, each unit by itself; or none, and what went wrong."""
        try:
            with self.walk.each_alone():
                return self._measured(self.walk, response, weights), ""
        except _FAULTS as error:  # autograd then measures, or says what is wrong
            if is_out_of_memory(error):
                raise
            return None, f"{type(error).__name__}: {error}".splitlines()[0]

    def _measured(
        self, way: ByWalk | ByAutograd, response: ProbedResponse, weights: Tensor
    ) -> Float64[Tensor, "G U 4 4"]:
        """The Gram matrices of each group, on the device; nothing waits for it until all chunks are on their way."""
        way.room.look()
        direct = cancelling(weights, response.cotangents)
        try:
            way.begin(response, weights, direct)
            values = self._all_chunks(way, weights, direct)
        finally:
            was_right = way.end()
        return values if was_right else self._measured(way, response, weights)

    def _all_chunks(self, way: ByWalk | ByAutograd, weights: Tensor, direct: Tensor) -> Float64[Tensor, "G U 4 4"]:
        order, start = by_last_position(weights), 0
        chunks = [torch.zeros(len(self._names), 0, 4, 4, dtype=torch.float64, device=self._device)]
        while start < len(order):
            units = order[start : start + way.room.size]
            try:
                chunks.append(self._chunk(way, weights[units], direct[units]))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            else:
                start += len(units)
                continue
            way.room.halve(len(units))  # outside of the handler, whose error holds the tensors of the chunk
        return torch.cat(chunks, dim=1)[:, order.argsort()]

    def _chunk(self, way: ByWalk | ByAutograd, weights: Tensor, direct: Tensor) -> Float64[Tensor, "G U 4 4"]:
        collected = Collected(self.owner, self.metric, self.sketch, len(weights))
        grams = way.chunk(collected, weights, direct)
        self.reached |= collected.reached
        nothing = torch.zeros(len(weights), 4, 4, dtype=torch.float64, device=self._device)
        return torch.stack([grams.get(name, nothing) for name in self._names])


def by_last_position(weights: Tensor) -> Tensor:
    """Return the order of the units by the last position that they have a weight at."""
    places = torch.arange(1, weights.shape[1] + 1)
    return (weights.ne(0) * places).amax(dim=1).argsort(stable=True)


def _ends(weights: Tensor) -> Tensor:
    """The first token alone, behind which there are most places to look ahead to, and the last unit."""
    first = torch.zeros_like(weights[:1])
    first[0, columns_of(weights)[0]] = 1.0
    return torch.cat([first, weights[by_last_position(weights)[-1:]]])


def _apart(one: Float64[Tensor, "G U 4 4"], two: Float64[Tensor, "G U 4 4"]) -> float:
    """The largest difference of two Gram matrices, as a part of the product of the norms."""
    lengths = two.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
    scale = lengths.unsqueeze(-1) * lengths.unsqueeze(-2)
    off = ((one - two).abs() / scale).where((one - two) != 0, 0.0)
    return float(off.max().nan_to_num(torch.inf)) if off.numel() else 0.0
