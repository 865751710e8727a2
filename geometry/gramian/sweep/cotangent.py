"""The cotangents of all seeds at one tensor of the graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from geometry.gramian.sweep.layout import Layout, Layouts

_BY_BLOCKS = 1 << 16
"""Numbers of a block from which on it is multiplied by itself: for fewer, one product with rows picked is faster."""


class NotByRows(Exception):
    """An operation mixes places, so that it needs the cotangents whole."""


@dataclass(slots=True)
class Cotangent:
    """K cotangents of a tensor, whole or by rows.

    values: whole `[K, *shape]`; by rows `[N, *features]`, the features being the axes of the tensor but that of places.
    shape: of the tensor.
    layout: of the rows; None where the cotangents are whole.
    axis: of the places in the tensor, if by rows.
    """

    values: Tensor
    shape: tuple[int, ...]
    layout: Layout | None = None
    axis: int = -1

    def dim(self, axis: int) -> int:
        """Return the axis of `values` that is an axis of the tensor.

        Raises:
            NotByRows: it is that of the places.
        """
        axis %= len(self.shape)
        if self.layout is None or axis < self.axis:
            return axis + 1
        if axis == self.axis:
            raise NotByRows
        return axis

    def at(self, saved: Tensor, again: bool = False) -> Tensor:
        """Return a tensor that broadcasts against this one, such that it broadcasts against `values`.

        again: whether the rows of this tensor are asked for more than once; the tensor must stay as it is meanwhile.
        """
        missing = len(self.shape) - saved.ndim
        if not saved.ndim:
            return saved
        if self.layout is None:
            return saved[(None,) * (missing + 1)]
        axis = self.axis - missing
        if axis < 0:
            return saved
        if saved.shape[axis] == 1 != self.shape[self.axis]:
            return saved.squeeze(axis)
        rows = self.layout.rows_of(saved, axis, again)
        return rows if not missing else rows.reshape(len(rows), *(1,) * missing, *rows.shape[1:])

    def times(self, factor: Tensor | float) -> Tensor:
        """Return `values` times a tensor that broadcasts against the cotangents' own."""
        blocks = self._by_blocks(factor) if isinstance(factor, Tensor) else None
        if blocks is None:
            return self.values * (self.at(factor) if isinstance(factor, Tensor) else factor)
        product = torch.empty_like(self.values)
        for values, result, part in zip(*map(self._cut, (self.values, product)), blocks, strict=True):
            torch.mul(values, part, out=result)
        return product

    def plus_times(self, along: Tensor, factor: Tensor) -> "Cotangent":
        """Add `along times factor`, the latter as in `times`, to the values in place; return itself."""
        blocks = self._by_blocks(factor)
        if blocks is None:
            self.values.addcmul_(along, self.at(factor))
        else:
            for values, scale, part in zip(self._cut(self.values), self._cut(along), blocks, strict=True):
                values.addcmul_(scale, part)
        return self

    def _cut(self, values: Tensor) -> list[Tensor]:
        assert self.layout is not None
        return [block.cut(values) for block in self.layout.blocks]

    def _by_blocks(self, factor: Tensor) -> list[Tensor] | None:
        """What each block's rows `[c, n, *features]` are multiplied with, if these are the first places."""
        missing = len(self.shape) - factor.ndim
        axis = self.axis - missing
        if self.layout is None or self.layout.is_own or axis < 0 or factor.shape[axis] != self.shape[self.axis]:
            return None
        if len(self.layout.blocks) > 1 and self.values.numel() < _BY_BLOCKS * len(self.layout.blocks):
            return None
        rows = factor.movedim(axis, 0)
        rows = rows.reshape(len(rows), *(1,) * missing, *rows.shape[1:]) if missing else rows
        return [rows[: block.n] for block in self.layout.blocks]

    def with_(self, values: Tensor, shape: Sequence[int] | None = None) -> "Cotangent":
        """Return other values with the same rows; of a tensor of another shape, with its places at the same axis."""
        return Cotangent(values, self.shape if shape is None else tuple(shape), self.layout, self.axis)

    def whole(self) -> "Cotangent":
        """Return it whole."""
        if self.layout is None:
            return self
        return Cotangent(self.layout.dense(self.values).movedim(1, self.axis + 1), self.shape)

    def viewed(self, shape: Sequence[int]) -> "Cotangent":
        """Return it for a view of the tensor with another shape.

        Raises:
            NotByRows: the view mixes places with features.
        """
        shape = tuple(shape)
        if self.layout is None:
            return Cotangent(self.values.reshape(-1, *shape), shape)
        before, ahead = prod(self.shape[: self.axis]), 1
        for axis, size in enumerate(shape):
            if size == self.layout.size and ahead == before:
                features = shape[:axis] + shape[axis + 1 :]
                return Cotangent(self.values.reshape(-1, *features), shape, self.layout, axis)
            ahead *= size
        raise NotByRows

    def permuted(self, dims: Sequence[int]) -> "Cotangent":
        """Return it for the tensor whose axes `dims` are those of this one, in order: the inverse permutation."""
        dims = [dim % len(self.shape) for dim in dims]
        order = [dims.index(axis) for axis in range(len(dims))]  # axes of this one, in the order of the other
        shape = tuple(self.shape[axis] for axis in order)
        if self.layout is None:
            return Cotangent(self.values.permute(0, *(axis + 1 for axis in order)), shape)
        features = [axis for axis in order if axis != self.axis]
        values = self.values.permute(0, *(self.dim(axis) for axis in features))
        return Cotangent(values, shape, self.layout, order.index(self.axis))

    def reduced(self, shape: Sequence[int]) -> "Cotangent":
        """Return it for a tensor of this shape that was broadcast."""
        shape = tuple(shape)
        if shape == self.shape:
            return self
        missing = len(self.shape) - len(shape)
        padded = (1,) * missing + shape
        lost = [axis for axis, size in enumerate(padded) if size == 1 != self.shape[axis]]
        if self.layout is not None and (self.axis < missing or self.axis in lost):
            others = [self.dim(axis) for axis in lost if axis != self.axis]
            values = self.values.sum(others, keepdim=True) if others else self.values
            return Cotangent(self.layout.summed(values).reshape(-1, *shape), shape)
        dims = [self.dim(axis) for axis in lost]
        values = self.values.sum(dims, keepdim=True) if dims else self.values
        if self.layout is None:
            return Cotangent(values.reshape(-1, *shape), shape)
        features = padded[: self.axis] + padded[self.axis + 1 :]
        return Cotangent(values.reshape(-1, *features[missing:]), shape, self.layout, self.axis - missing)

    def plus(self, other: "Cotangent", both: Layouts | None) -> "Cotangent":
        """Return the sum with another cotangent of the same tensor; rows where either has rows.

        both: the layouts of own and first places of the tensor.
        """
        one, two = self, other
        if one.layout is None and two.layout is None:
            return one.with_(one.values + two.values)
        if one.layout is two.layout and one.axis == two.axis:
            return one.with_(one.values + two.values)
        if one.layout is None or (two.layout is not None and one.layout.is_own):
            one, two = two, one  # by rows, and of the first places if one of them is
        assert one.layout is not None
        if one.layout.is_own and two.layout is None:
            assert both is not None
            one = one.spread(both)
        if two.layout is None:
            assert one.layout is not None
            return one.with_(one.values + one.layout.picked(two.values.movedim(one.axis + 1, 1)))
        assert both is not None and one.axis == two.axis
        return one.with_(one.values.index_add(0, both.own_rows, two.values))

    def spread(self, both: Layouts) -> "Cotangent":
        """Return own rows among the first places."""
        values = self.values.new_zeros(len(both.first.places), *self.values.shape[1:])
        return Cotangent(values.index_add_(0, both.own_rows, self.values), self.shape, both.first, self.axis)


def zeros_like(one: Cotangent) -> Cotangent:
    """Return a cotangent of zeros with the rows of another."""
    return one.with_(torch.zeros_like(one.values))
