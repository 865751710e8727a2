"""Rules of views, slices and what joins or parts tensors."""

from collections.abc import Sequence

import torch

from geometry.gramian.graph import signed
from geometry.gramian.sweep.cotangent import Cotangent, NotByRows
from geometry.gramian.sweep.node import Cotangents, Node, Rule, only, unknown


def _view(node: Node, cotangents: Cotangents) -> Cotangents:
    return [only(cotangents).viewed(node.shape(0))]


def _transposed(node: Node, cotangents: Cotangents) -> Cotangents:
    one = only(cotangents)
    dims = list(range(len(one.shape)))
    first, second = signed(node.saved("dim0")), signed(node.saved("dim1"))
    dims[first], dims[second] = dims[second], dims[first]
    return [one.permuted(dims)]


def _turned(node: Node, cotangents: Cotangents) -> Cotangents:
    return [only(cotangents).permuted([1, 0])]


def _permuted(node: Node, cotangents: Cotangents) -> Cotangents:
    return [only(cotangents).permuted([signed(dim) for dim in node.saved("dims")])]


def _broadcast(node: Node, cotangents: Cotangents) -> Cotangents:
    return [only(cotangents).reduced(node.shape(0))]


def _sliced(node: Node, cotangents: Cotangents) -> Cotangents:
    one, shape, axis = only(cotangents), node.shape(0), signed(node.saved("dim"))
    start, step = signed(node.saved("start")), node.saved("step")
    dim, size = one.dim(axis), shape[axis]
    start = min(start + size if start < 0 else start, size)
    if one.values.shape[dim] == size:
        return [one]
    places = slice(start, start + (one.values.shape[dim] - 1) * step + 1, step)
    return [_within(one, dim, size, places, shape)]


def _selected(node: Node, cotangents: Cotangents) -> Cotangents:
    one, shape = only(cotangents), node.shape(0)
    axis = signed(node.saved("dim")) % len(shape)
    index, one = signed(node.saved("index")) % shape[axis], _unsqueezed(one, axis)
    if shape[axis] == 1:
        return [one]
    return [_within(one, one.dim(axis), shape[axis], slice(index, index + 1), shape)]


def _unsqueezed(one: Cotangent, axis: int) -> Cotangent:
    """Of a tensor with an axis of length 1 more."""
    shape = (*one.shape[:axis], 1, *one.shape[axis:])
    if one.layout is None:
        return Cotangent(one.values.unsqueeze(axis + 1), shape)
    places = one.axis + (axis <= one.axis)
    return Cotangent(one.values.unsqueeze(axis + 1 if axis < places else axis), shape, one.layout, places)


def _within(one: Cotangent, dim: int, size: int, places: slice, shape: Sequence[int]) -> Cotangent:
    """Zeros of a longer tensor, and the cotangent in them."""
    whole = one.values.new_zeros(*one.values.shape[:dim], size, *one.values.shape[dim + 1 :])
    whole[(slice(None),) * dim + (places,)] = one.values
    return one.with_(whole, shape)


def _unbound(node: Node, cotangents: Cotangents) -> Cotangents:
    axis = signed(node.saved("dim"))
    example = next(each for each in cotangents if each is not None)
    axis %= len(node.shape(0))
    parts = [_unsqueezed(each or _zeros(example), axis) for each in cotangents]
    return [_joined(parts, axis, node.shape(0))]


def _split(node: Node, cotangents: Cotangents) -> Cotangents:
    axis = signed(node.saved("dim"))
    example = next(each for each in cotangents if each is not None)
    sizes = [tuple(result.shape) for result in node.node._input_metadata]
    dim = example.dim(axis)
    parts = [each or _zeros(example, dim, size, axis) for each, size in zip(cotangents, sizes, strict=True)]
    return [_joined(parts, axis, node.shape(0))]


def _zeros(example: Cotangent, dim: int = 0, shape: Sequence[int] | None = None, axis: int = 0) -> Cotangent:
    if shape is None:
        return example.with_(torch.zeros_like(example.values))
    values = example.values
    return example.with_(values.new_zeros(*values.shape[:dim], shape[axis], *values.shape[dim + 1 :]), shape)


def _joined(parts: Sequence[Cotangent], axis: int, shape: Sequence[int]) -> Cotangent:
    dim = parts[0].dim(axis)
    if len(parts) == 1:
        return parts[0]
    if any(part.layout is not parts[0].layout or part.axis != parts[0].axis for part in parts):
        raise NotByRows
    return parts[0].with_(torch.cat([part.values for part in parts], dim), shape)


def _concatenated(node: Node, cotangents: Cotangents) -> Cotangents:
    one, axis = only(cotangents), signed(node.saved("dim"))
    dim, parts, start = one.dim(axis), list[Cotangent | None](), 0
    for place, wanted in enumerate(node.wanted):
        if node.edges[place][0] is None:
            unknown()  # the length of an input that does not train is not known
        shape = node.shape(place)
        parts.append(one.with_(one.values.narrow(dim, start, shape[axis]), shape) if wanted else None)
        start += shape[axis]
    return parts


RULES: dict[str, Rule] = {
    "ViewBackward0": _view,
    "UnsafeViewBackward0": _view,
    "ReshapeAliasBackward0": _view,
    "SqueezeBackward0": _view,
    "SqueezeBackward1": _view,
    "SqueezeBackward2": _view,
    "UnsqueezeBackward0": _view,
    "TBackward0": _turned,
    "TransposeBackward0": _transposed,
    "PermuteBackward0": _permuted,
    "ExpandBackward0": _broadcast,
    "SliceBackward0": _sliced,
    "SelectBackward0": _selected,
    "UnbindBackward0": _unbound,
    "SplitBackward0": _split,
    "SplitWithSizesBackward0": _split,
    "CatBackward0": _concatenated,
}
