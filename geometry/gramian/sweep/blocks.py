"""The factors of a use of a weight, from what arrived at its result, one block of units after the other."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod

from geometry.gramian.sweep.cotangent import Cotangent
from geometry.gramian.uses import Use, as_they_are
from geometry.gramian.weight_gramians import Factors
from geometry.gramian.wide import multiplied


def by_blocks(use: Use, arrived: Cotangent, rows: tuple[int, ...], bounds: Sequence[int]) -> list[Factors]:
    """Return the factors of each block, at the places where its units have cotangents; of all units as one if these
    have them at every place.

    rows: of the objectives in `BASIS`. bounds: where blocks begin, and the number of units.
    """
    if _rows_are_places(use, arrived):
        return list(_of_rows(use, arrived, rows))
    factors, layout = use.factors(arrived.whole().values, rows), arrived.layout
    if layout is None or layout.is_own or factors.by_unit.shape[:2] != (1, layout.size):
        return [factors]
    blocks = [factors.of(slice(*units)) for units in pairwise(bounds)]
    return [
        Factors(part.weight, rows, part.inputs[: block.n], part.outputs[:, :, : block.n])
        for part, block in zip(blocks, layout.blocks, strict=True)
    ]


def _rows_are_places(use: Use, arrived: Cotangent) -> bool:
    """Whether the rows of the use's inputs are the places of the sequence in order, or several rows to a place."""
    layout, axis, shape = arrived.layout, arrived.axis, arrived.shape
    if layout is None or use.outwards is not as_they_are or axis == len(shape) - 1 or use.inputs.ndim != 2:
        return False
    return prod(shape[:axis]) == 1 and len(use.inputs) == prod(shape[:-1])


def _of_rows(use: Use, arrived: Cotangent, rows: tuple[int, ...]) -> Iterator[Factors]:
    layout, inputs, weight = arrived.layout, use.all_inputs, use.weight
    assert layout is not None
    at_place, values = len(inputs) // layout.size, multiplied(arrived.values)
    longest = inputs[: max(block.n for block in layout.blocks) * at_place]
    for block in layout.blocks:
        units, n_rows = block.last - block.first, block.n * at_place
        outputs = values[block.rows].reshape(units, block.m, n_rows, arrived.shape[-1])
        if not layout.is_own:
            yield Factors(weight, rows, inputs[:n_rows], outputs, longest)
            continue
        places = layout.places[block.rows].view(units, block.m, block.n)[:, 0]
        own = inputs.view(layout.size, at_place, -1)[places].flatten(1, 2)
        yield Factors(weight, rows, own, outputs)
