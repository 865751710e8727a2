"""Which rows of a tensor's cotangents are held.

A token's cotangents are 0 behind its own position, and above the last attention everywhere but there. So of a sequence
of S places each unit holds the first few, or those of its own tokens alone. Units of about the same length make a
block, whose rows are a plain array.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import torch
from jaxtyping import Int
from torch import Tensor

_WASTE = 0.25
"""A block ends where its shorter units would take this much more than their own rows."""
_LEAST = 6  # rows by which lengths may always differ within a block


@dataclass(frozen=True)
class Block:
    """Units `first:last` and their n places, in the rows from `start` on: `[units, m, n]`."""

    first: int
    last: int
    n: int
    start: int
    m: int

    @property
    def rows(self) -> slice:
        """Where the rows of the block stand."""
        return slice(self.start, self.start + (self.last - self.first) * self.m * self.n)

    @property
    def cotangents(self) -> slice:
        """Which of the K = U m cotangents are the block's."""
        return slice(self.first * self.m, self.last * self.m)

    def cut(self, values: Tensor) -> Tensor:
        """Return the block's rows, `[units m, n, *features]`."""
        return values[self.rows].unflatten(0, (-1, self.n))


@dataclass(frozen=True, eq=False)
class Layout:
    """The rows of U units with m cotangents each, in a tensor with `size` places.

    places: of each row. flat: where each row stands in `[U m, size]`. is_own: whether units hold their own tokens'
    places alone, s of them.
    """

    blocks: tuple[Block, ...]
    places: Int[Tensor, " N"]
    flat: Int[Tensor, " N"]
    size: int
    is_own: bool
    _kept: dict[Hashable, tuple[Tensor, Tensor]] = field(default_factory=dict)  # with the tensors, whose places stay

    def rows_of(self, table: Tensor, axis: int, again: bool) -> Tensor:
        """Return the rows `[N, *features]` of a tensor with the places along an axis; keep them if needed again."""
        if not again:
            return table.movedim(axis, 0).index_select(0, self.places)
        key = table.data_ptr(), tuple(table.shape), table.stride(), axis
        if key not in self._kept:
            self._kept[key] = table, self.rows_of(table, axis, False)
        return self._kept[key][1]

    @property
    def n_cotangents(self) -> int:
        """K."""
        return self.blocks[-1].cotangents.stop

    def summed(self, values: Tensor) -> Tensor:
        """Add up each cotangent's rows: `[K, *features]`."""
        sums = [block.cut(values).sum(1) for block in self.blocks]
        return torch.cat(sums) if len(sums) > 1 else sums[0]

    def dense(self, values: Tensor) -> Tensor:
        """Return `[K, size, *features]`, 0 where no row is held."""
        whole = values.new_zeros(self.n_cotangents * self.size, *values.shape[1:])
        return whole.index_add_(0, self.flat, values).unflatten(0, (-1, self.size))

    def picked(self, dense: Tensor) -> Tensor:
        """Return the rows of `[K, size, *features]` that are held."""
        return dense.flatten(0, 1).index_select(0, self.flat)


class Layouts:
    """The two layouts of some units in one tensor: of their own tokens' places, and of the first places.

    Args:
        own: the places of each unit's tokens, on the CPU.
        stops: of each unit, behind its last token.
        bounds: where blocks begin, and the number of units.
        m: cotangents a unit.
        size: of the tensor, in places.
        device: where rows are picked.
    """

    def __init__(
        self,
        own: Int[Tensor, "U s"],
        stops: Sequence[int],
        bounds: Sequence[int],
        m: int,
        size: int,
        device: torch.device,
    ) -> None:
        self._stops, self._bounds, self._m, self._device = stops, bounds, m, device
        n_units, s = own.shape
        places = own[:, None].expand(n_units, m, s).flatten()
        self._own_flat = (torch.arange(n_units * m) * size).repeat_interleave(s) + places
        blocks = tuple(Block(first, last, s, first * m * s, m) for first, last in pairwise(bounds))
        self.own = Layout(blocks, places.to(device), self._own_flat.to(device), size, True)

    @cached_property
    def first(self) -> Layout:
        """Of the first places."""
        size, m, blocks, places, flat = self.own.size, self._m, list[Block](), list[Tensor](), list[Tensor]()
        for first, last in pairwise(self._bounds):
            n = max(self._stops[first:last])
            blocks.append(Block(first, last, n, blocks[-1].rows.stop if blocks else 0, m))
            one = torch.arange(n)
            places.append(one.repeat((last - first) * m))
            flat.append(((torch.arange(first * m, last * m) * size)[:, None] + one).flatten())
        self._first_flat = rows = torch.cat(flat)
        return Layout(tuple(blocks), torch.cat(places).to(self._device), rows.to(self._device), size, False)

    @cached_property
    def own_rows(self) -> Int[Tensor, " N"]:
        """Where the rows of `own` stand in `first`; those behind a unit's last place, which are 0, at row 0."""
        assert not self.first.is_own  # by which the rows are known
        flat = self._first_flat
        row_of = torch.zeros(self.own.n_cotangents * self.own.size, dtype=torch.long)
        row_of[flat] = torch.arange(len(flat))
        return row_of[self._own_flat].to(self._device)


def block_bounds(stops: Sequence[int]) -> list[int]:
    """Part units with ascending stops into blocks; return where each begins, and their number."""
    bounds = [0]
    for unit in range(1, len(stops)):
        longest, members = stops[unit], stops[bounds[-1] : unit + 1]
        wasted = longest * len(members) - sum(members)
        if wasted > _WASTE * sum(members) and longest - members[0] > _LEAST:
            bounds.append(unit)
    return [*bounds, len(stops)]
