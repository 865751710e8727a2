"""The factors of a use of a weight, from what arrived at its result, one block of units after the other."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

import torch
from torch import Tensor

from geometry.gramian.sweep.cotangent import Cotangent
from geometry.gramian.sweep.layout import Layout
from geometry.gramian.uses import Use, as_they_are
from geometry.gramian.weight_gramians import Factors, place_of, rows_below
from geometry.gramian.wide import multiplied


@dataclass(frozen=True)
class RowFactors:
    """The factors of a use of a weight by rows: of each, the place it stands at and the cotangents.

    weight, rows: as those of `Factors`. inputs: of all places, `[size r, i]`, r rows to a place. values: `[N, r, o]`.
    """

    weight: Tensor
    rows: tuple[int, ...]
    inputs: Tensor
    values: Tensor
    layout: Layout

    @property
    def key(self) -> Hashable:
        """What it shares with other weights that are applied to the same inputs."""
        return self.rows, place_of(self.inputs), id(self.layout)

    def beside(self, others: Sequence["RowFactors"]) -> "RowFactors":
        """Return this and others as the factors of one weight, one below the other."""
        every = [self, *others]
        values = torch.cat([each.values for each in every], dim=-1)
        return replace(self, weight=rows_below([each.weight for each in every]), values=values)

    def blocks(self) -> list[Factors]:
        """Return the factors of each block of units."""
        at_place, layout = self.values.shape[1], self.layout
        longest = self.inputs[: max(block.n for block in layout.blocks) * at_place]
        return [
            self._of_own(block.rows, block.last - block.first, block.m, block.n)
            if layout.is_own
            else Factors(
                self.weight,
                self.rows,
                longest[: block.n * at_place],
                self.values[block.rows].view(block.last - block.first, block.m, block.n * at_place, -1),
                longest,
            )
            for block in layout.blocks
        ]

    def _of_own(self, rows: slice, units: int, m: int, s: int) -> Factors:
        at_place = self.values.shape[1]
        places = self.layout.places[rows].view(units, m, s)[:, 0]
        inputs = self.inputs.view(self.layout.size, at_place, -1)[places].flatten(1, 2)
        return Factors(self.weight, self.rows, inputs, self.values[rows].view(units, m, s * at_place, -1))


def factors_of(
    use: Use, arrived: Cotangent, rows: tuple[int, ...], bounds: Sequence[int]
) -> RowFactors | Sequence[Factors]:
    """Return the factors at the places where units have cotangents; of all units as one if that is every place.

    rows: of the objectives in `BASIS`. bounds: where blocks begin, and the number of units.
    """
    layout = arrived.layout
    if layout is not None and _rows_are_places(use, arrived):
        inputs = use.all_inputs
        values = multiplied(arrived.values).reshape(len(layout.places), len(inputs) // layout.size, -1)
        return RowFactors(use.weight, rows, inputs, values, layout)
    factors = use.factors(arrived.whole().values, rows)
    if layout is None or layout.is_own or factors.by_unit.shape[:2] != (1, layout.size):
        return [factors]
    blocks = [factors.of_units(slice(*units)) for units in pairwise(bounds)]
    return [
        Factors(part.weight, rows, part.inputs[: block.n], part.outputs[:, :, : block.n])
        for part, block in zip(blocks, layout.blocks, strict=True)
    ]


def _rows_are_places(use: Use, arrived: Cotangent) -> bool:
    """Whether the rows of the use's inputs are the places of the sequence in order, or several rows to a place."""
    axis, shape = arrived.axis, arrived.shape
    if use.outwards is not as_they_are or axis == len(shape) - 1 or use.inputs.ndim != 2:
        return False
    return prod(shape[:axis]) == 1 and len(use.inputs) == prod(shape[:-1])
