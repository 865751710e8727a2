"""Rules of sums and means."""

from collections.abc import Sequence

from geometry.gramian.graph import signed
from geometry.gramian.sweep.cotangent import Cotangent, NotByRows
from geometry.gramian.sweep.node import Cotangents, Node, Rule, only


def _mean(node: Node, cotangents: Cotangents) -> Cotangents:
    dims = node.saved("dim")
    shape, count = node.shape(0), 1
    for dim in _dims(dims, len(shape)):
        count *= shape[dim]
    return _expanded(node, only(cotangents), dims, 1.0 / count)


def _sum(node: Node, cotangents: Cotangents) -> Cotangents:
    return _expanded(node, only(cotangents), node.saved("dim"), 1.0)


def _dims(dims: Sequence[int] | None, rank: int) -> list[int]:
    return sorted(signed(dim) % rank for dim in dims) if dims else list(range(rank))


def _expanded(node: Node, one: Cotangent, dims: Sequence[int] | None, scale: float) -> Cotangents:
    """Of a sum over `dims`: the same at every place."""
    shape = node.shape(0)
    if not node.saved("keepdim"):
        kept = [1 if axis in _dims(dims, len(shape)) else size for axis, size in enumerate(shape)]
        one = one.viewed(kept)
    if one.layout is None:
        return [Cotangent((one.values * scale).expand(-1, *shape), shape)]
    if one.axis in _dims(dims, len(shape)):
        raise NotByRows
    features = shape[: one.axis] + shape[one.axis + 1 :]
    return [one.with_((one.values * scale).expand(-1, *features), shape)]


RULES: dict[str, Rule] = {
    "MeanBackward1": _mean,
    "SumBackward1": _sum,
}
