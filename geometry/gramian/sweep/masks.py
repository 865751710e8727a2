"""Rules of what is put at, or taken from, the places of a mask."""

from math import prod

import torch
from torch import Tensor

from geometry.gramian.sweep.cotangent import Cotangent
from geometry.gramian.sweep.node import Cotangents, Node, Rule, only, unknown


def _scattered(node: Node, cotangents: Cotangents) -> Cotangents:
    """Of a tensor in which the places of a mask are replaced, in order, by rows of a source."""
    one, mask = only(cotangents), node.saved("mask")
    return [_kept(node, one, mask), _at_mask(node, one, mask.expand(one.shape))]


def _put(node: Node, cotangents: Cotangents) -> Cotangents:
    """Of a tensor in which the places of a mask of its first axes are replaced by a source."""
    one, mask = only(cotangents), _mask(node)
    if node.wanted[1] and _is_broadcast(node, one, mask):
        unknown()
    if node.saved("accumulate"):
        return [one if node.wanted[0] else None, _at_mask(node, one, mask)]
    rows = mask[(...,) + (None,) * (len(one.shape) - mask.ndim)]
    return [_kept(node, one, rows), _at_mask(node, one, mask)]


def _taken(node: Node, cotangents: Cotangents) -> Cotangents:
    """Of the places of a mask of a tensor's first axes."""
    one, mask, shape = only(cotangents).whole(), _mask(node), node.shape(0)
    whole = one.values.new_zeros(len(one.values), mask.numel(), *shape[mask.ndim :])
    whole.index_copy_(1, _places(node, mask, one.shape[0]), one.values)
    return [Cotangent(whole.reshape(-1, *shape), shape)]


def _mask(node: Node) -> Tensor:
    (mask, *others) = node.saved("indices")
    if mask is None or mask.dtype != torch.bool or any(other is not None for other in others):
        unknown()
    return mask


def _places(node: Node, mask: Tensor, count: int) -> Tensor:
    """Where a mask holds, in order; nothing waits for a device, since their number is known."""
    return node.table("places", lambda: torch.nonzero_static(mask.flatten(), size=count).squeeze(1))


def _kept(node: Node, one: Cotangent, mask: Tensor) -> Cotangent | None:
    return one.with_(one.values.masked_fill(one.at(mask), 0)) if node.wanted[0] else None


def _at_mask(node: Node, one: Cotangent, mask: Tensor) -> Cotangent | None:
    """The cotangents at the places of a mask of the first axes, as those of the source."""
    if not node.wanted[1]:
        return None
    shape, whole = node.shape(1), one.whole().values
    rows = whole.reshape(len(whole), mask.numel(), -1)
    places = _places(node, mask, prod(shape) // rows.shape[2])
    taken = rows[:, places].masked_fill(places.lt(0).unsqueeze(1), 0)  # a source may be longer than needed
    return Cotangent(taken.reshape(-1, *shape), shape)


def _is_broadcast(node: Node, one: Cotangent, mask: Tensor) -> bool:
    """Whether a source may be broadcast to the places of a mask: it may where it has one row."""
    shape = node.shape(1)
    return shape[1:] != one.shape[mask.ndim :] or len(shape) != 1 + len(one.shape) - mask.ndim or shape[0] == 1


RULES: dict[str, Rule] = {
    "MaskedScatterBackward0": _scattered,
    "IndexPutBackward0": _put,
    "IndexBackward0": _taken,
}
