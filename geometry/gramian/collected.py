"""What arrives at the parameters for a chunk of units, and the Gram matrices made of it."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from geometry.gram import BASIS
from geometry.gramian.sketch import Sketch
from geometry.gramian.sweep.blocks import RowFactors
from geometry.gramian.uses import Part
from geometry.gramian.weight_gramians import (
    Factors,
    InputProducts,
    grams_of_rows,
    weight_gradients,
    weight_grams,
)
from geometry.gramian.wide import wide_zeros

Blocks = RowFactors | Sequence[Factors]
"""The factors of one use of a weight: by rows, or for one block of units after the other."""


class Collected:
    """The factors and gradients of some units, by parameter.

    Args:
        owner: the group of each parameter.
        metric: of the inner products, for each parameter; None for the plain one.
        sketch: of wide weights; None for exact products.
        n_units: U.
    """

    def __init__(
        self,
        owner: Mapping[nn.Parameter, str],
        metric: Mapping[nn.Parameter, Tensor] | None,
        sketch: Sketch | None,
        n_units: int,
    ) -> None:
        self._owner, self._metrics, self._sketch, self._n_units = owner, metric, sketch, n_units
        self._uses: dict[nn.Parameter, dict[Part, list[Blocks]]] = {}
        self._rest: dict[nn.Parameter, Tensor] = {}
        self._grams: dict[str, Tensor] = {}
        self._products = InputProducts()
        self._side_by_side: tuple[Hashable, list[Sequence[RowFactors]]] = (None, [])
        self.reached: set[nn.Parameter] = set()

    def add(self, parameter: nn.Parameter, part: Part, blocks: Blocks) -> None:
        """Add a use of a parameter, or of a part of it."""
        self.reached.add(parameter)
        self._uses.setdefault(parameter, {}).setdefault(part, []).append(blocks)

    def add_gradients(
        self, parameter: nn.Parameter, gradients: Float[Tensor, "Um *shape"], rows: Sequence[int]
    ) -> None:
        """Add the gradients of a parameter themselves, of the objectives in these rows of `BASIS`."""
        self.reached.add(parameter)
        self._held(parameter, gradients)[:, rows[0] : rows[-1] + 1] = gradients.reshape(self._n_units, len(rows), -1)

    def settle(self, parameter: nn.Parameter) -> None:
        """Make the Gram matrices of a parameter whose factors are all there, and let these go."""
        parts = self._uses.pop(parameter)
        if parameter in self._rest or len({part.matrix for part in parts}) < len(parts):
            self._make_dense(parameter, parts)
            return
        metric = self._metric(parameter)
        if metric is None and self._sketch is None and len(parts) == 1:
            self._put_beside(self._owner[parameter], *parts.values())
            return
        for part, uses in parts.items():
            within = None if metric is None else part.within(metric)
            sketched = None if self._sketch is None else partial(self._sketch.sketched, parameter, part)
            self._multiply(self._owner[parameter], uses, within, sketched)

    def _put_beside(self, owner: str, uses: Sequence[Blocks]) -> None:
        """Keep the factors of a weight until one comes that is applied to other inputs: all make one product."""
        by_rows = [each for each in uses if isinstance(each, RowFactors)]
        if len(by_rows) < len(uses):
            self._multiply(owner, uses)
            return
        key = owner, tuple(each.key for each in by_rows)
        if self._side_by_side[0] != key:
            self._multiply_kept()
            self._side_by_side = key, []
        self._side_by_side[1].append(by_rows)

    def _multiply_kept(self) -> None:
        key, kept = self._side_by_side
        if kept:
            assert isinstance(key, tuple)
            uses = [first.beside(others) if others else first for first, *others in zip(*kept, strict=True)]
            self._multiply(key[0], uses)
        self._side_by_side = None, []

    def _multiply(
        self,
        owner: str,
        uses: Sequence[Blocks],
        metric: Tensor | None = None,
        sketched: Callable[[Sequence[Factors]], Sequence[Factors]] | None = None,
    ) -> None:
        blocks = (block if sketched is None else sketched(block) for block in _aligned(uses))
        grams = [weight_grams(block, metric, self._products) for block in blocks]
        self._add(owner, torch.cat(grams) if len(grams) > 1 else grams[0])

    def grams(self) -> dict[str, Float64[Tensor, "U 4 4"]]:
        """Return the Gram matrices by group; what they are made from is let go on the way."""
        while self._uses:
            self.settle(next(iter(self._uses)))
        self._multiply_kept()
        for parameter in [parameter for parameter in self._rest if parameter.ndim > 1]:
            self._add(self._owner[parameter], grams_of_rows(self._rest.pop(parameter), self._metric(parameter)))
        for name, parameters in self._groups_of_rest().items():
            rows = torch.cat([self._rest[parameter] for parameter in parameters], dim=-1).double()
            metrics = [metric.flatten() for p in parameters if (metric := self._metric(p)) is not None]
            self._add(name, grams_of_rows(rows, torch.cat(metrics) if metrics else None))
        return self._grams

    def _make_dense(self, parameter: nn.Parameter, parts: Mapping[Part, Sequence[Blocks]]) -> None:
        """Add up the gradients of a parameter that has no factors in the other view, or is also used transposed."""
        example = _cut(next(iter(parts.values()))[0])[0].outputs
        held = self._held(parameter, example).unflatten(-1, parameter.shape)
        for part, uses in parts.items():
            within, start = part.within(held), 0
            for block in _aligned(uses):
                units = slice(start, start + len(block[0].outputs))
                within[units] += weight_gradients(block).unflatten(-1, block[0].weight.shape)
                start = units.stop

    def _held(self, parameter: nn.Parameter, like: Tensor) -> Tensor:
        if parameter not in self._rest:
            self._rest[parameter] = wide_zeros(like, self._n_units, len(BASIS), parameter.numel())
        return self._rest[parameter]

    def _groups_of_rest(self) -> dict[str, list[nn.Parameter]]:
        groups: dict[str, list[nn.Parameter]] = {}
        for parameter in self._rest:
            groups.setdefault(self._owner[parameter], []).append(parameter)
        return groups

    def _metric(self, parameter: nn.Parameter) -> Tensor | None:
        return self._metrics[parameter] if self._metrics else None

    def _add(self, name: str, gram: Tensor) -> None:
        self._grams[name] = self._grams[name] + gram if name in self._grams else gram


def _cut(blocks: Blocks) -> Sequence[Factors]:
    return blocks.blocks() if isinstance(blocks, RowFactors) else blocks


def _aligned(uses: Sequence[Blocks]) -> Iterator[Sequence[Factors]]:
    """The factors of all uses, block by block: those of all units as one are parted where others are."""
    cut = [_cut(blocks) for blocks in uses]
    most, start = max(cut, key=len), 0
    for place, example in enumerate(most):
        units = slice(start, start + len(example.outputs))
        yield [blocks[place] if len(blocks) == len(most) else blocks[0].of_units(units) for blocks in cut]
        start = units.stop
