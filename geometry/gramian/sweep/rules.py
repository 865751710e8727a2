"""How cotangents pass each kind of node of a graph: the same for any number of them at once.

A rule gets a node of autograd's graph and the cotangents at its results, and returns those at its inputs. Derivatives
of elementwise functions are asked of the node itself, once for all cotangents.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor

from geometry.gramian.graph import signed
from geometry.gramian.sweep.cotangent import Cotangent, NotByRows
from geometry.gramian.sweep.layout import Layouts

Cotangents = Sequence[Cotangent | None]
Rule = Callable[["Node", "Cotangents"], "Cotangents"]
"""Takes the cotangents at a node's results, of which one at least is there."""


Edge = tuple[Any, int]
"""A node and which of its results; the node of a leaf has a `variable`."""


@dataclass
class Node:
    """A node of the graph, or several as one, and what is needed of it.

    node: the one that makes the results.
    edges: where its inputs come from.
    wanted: for each of them, whether a cotangent is needed there.
    rule: takes cotangents through; None where only the node itself can.
    layouts: of own and first places, where rows are held.
    """

    node: Any
    edges: Sequence[Edge]
    wanted: tuple[bool, ...]
    rule: Rule | None = None
    layouts: Layouts | None = None
    _tables: dict[str, Tensor] = field(default_factory=dict)

    def saved(self, name: str) -> Any:
        """Return what the forward pass saved."""
        return saved(self.node, name)

    def shape(self, place: int) -> tuple[int, ...]:
        """Return the shape of an input."""
        return tuple(self._tensor(place).shape)

    def dtype(self, place: int) -> torch.dtype:
        """Return the dtype of an input."""
        return self._tensor(place).dtype

    def _tensor(self, place: int) -> Any:
        before, output = self.edges[place]
        variable = getattr(before, "variable", None)
        return before._input_metadata[output] if variable is None else variable

    def table(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Return a tensor that is made once, for all seeds."""
        if name not in self._tables:
            self._tables[name] = make()
        return self._tables[name]


def saved(node: Any, name: str) -> Any:
    """Return what a node's forward pass saved."""
    return getattr(node, f"_saved_{name}")


def derivative(node: Any) -> Tensor:
    """Return the derivative of an elementwise function of one tensor."""
    (result,) = node._input_metadata
    return _pulled(node, result)


@torch.no_grad()
def _pulled(node: Any, result: Any) -> Tensor:
    pulled = node(torch.ones(result.shape, dtype=result.dtype, device=result.device))
    return (pulled[0] if isinstance(pulled, tuple) else pulled).detach()


def _only(cotangents: Cotangents) -> Cotangent:
    (one,) = (each for each in cotangents if each is not None)
    return one


def _elementwise(node: Node, cotangents: Cotangents) -> Cotangents:
    one = _only(cotangents)
    return [one.with_(one.times(node.table("derivative", lambda: derivative(node.node))))]


def _add(node: Node, cotangents: Cotangents, sign: float = 1.0) -> Cotangents:
    one, scale = _only(cotangents), sign * node.saved("alpha")
    other = one if scale == 1 else one.with_(one.values * scale)
    return [
        each.reduced(node.shape(place)) if wanted else None
        for place, (each, wanted) in enumerate(zip((one, other), node.wanted, strict=True))
    ]


def _subtract(node: Node, cotangents: Cotangents) -> Cotangents:
    return _add(node, cotangents, -1.0)


def _multiply(node: Node, cotangents: Cotangents) -> Cotangents:
    one = _only(cotangents)
    return [
        one.with_(one.times(node.saved(factor))).reduced(node.shape(place)) if wanted else None
        for place, (factor, wanted) in enumerate(zip(("other", "self"), node.wanted, strict=True))
    ]


def _divide(node: Node, cotangents: Cotangents) -> Cotangents:
    one, below = _only(cotangents), node.saved("other")
    over = one.with_(one.values / _factor(one, below))
    both: list[Cotangent | None] = [over.reduced(node.shape(0)) if node.wanted[0] else None, None]
    if node.wanted[1]:
        both[1] = over.with_(-over.values * one.at(node.saved("self") / below)).reduced(node.shape(1))
    return both


def _factor(one: Cotangent, factor: Tensor | float) -> Tensor | float:
    return one.at(factor) if isinstance(factor, Tensor) else factor


def _negative(node: Node, cotangents: Cotangents) -> Cotangents:
    one = _only(cotangents)
    return [one.with_(-one.values)]


def _cast(node: Node, cotangents: Cotangents) -> Cotangents:
    one = _only(cotangents)
    return [one.with_(one.values.to(node.dtype(0)))]


def _same(node: Node, cotangents: Cotangents) -> Cotangents:
    return [_only(cotangents)]


def _masked_fill(node: Node, cotangents: Cotangents) -> Cotangents:
    one = _only(cotangents)
    kept = one.with_(one.values.masked_fill(one.at(node.saved("mask")), 0)).reduced(node.shape(0))
    return [kept, *[None] * (len(node.wanted) - 1)] if not any(node.wanted[1:]) else _unknown()


def _unknown() -> Cotangents:
    raise NotImplementedError


def _softmax(node: Node, cotangents: Cotangents) -> Cotangents:
    one, axis = _only(cotangents), signed(node.saved("dim"))
    dim = one.dim(axis)
    weighed = one.values * one.at(node.saved("result"))
    return [one.with_(weighed - weighed.sum(dim, keepdim=True) * one.at(node.saved("result")))]


def _mean(node: Node, cotangents: Cotangents) -> Cotangents:
    dims = node.saved("dim")
    shape, count = node.shape(0), 1
    for dim in _dims(dims, len(shape)):
        count *= shape[dim]
    return _expanded(node, _only(cotangents), dims, 1.0 / count)


def _sum(node: Node, cotangents: Cotangents) -> Cotangents:
    return _expanded(node, _only(cotangents), node.saved("dim"), 1.0)


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


def _view(node: Node, cotangents: Cotangents) -> Cotangents:
    return [_only(cotangents).viewed(node.shape(0))]


def _transposed(node: Node, cotangents: Cotangents) -> Cotangents:
    one = _only(cotangents)
    dims = list(range(len(one.shape)))
    first, second = signed(node.saved("dim0")), signed(node.saved("dim1"))
    dims[first], dims[second] = dims[second], dims[first]
    return [one.permuted(dims)]


def _turned(node: Node, cotangents: Cotangents) -> Cotangents:
    return [_only(cotangents).permuted([1, 0])]


def _permuted(node: Node, cotangents: Cotangents) -> Cotangents:
    return [_only(cotangents).permuted([signed(dim) for dim in node.saved("dims")])]


def _broadcast(node: Node, cotangents: Cotangents) -> Cotangents:
    return [_only(cotangents).reduced(node.shape(0))]


def _sliced(node: Node, cotangents: Cotangents) -> Cotangents:
    one, shape, axis = _only(cotangents), node.shape(0), signed(node.saved("dim"))
    start, step = signed(node.saved("start")), node.saved("step")
    dim, size = one.dim(axis), shape[axis]
    start = min(start + size if start < 0 else start, size)
    if one.values.shape[dim] == size:
        return [one]
    places = slice(start, start + (one.values.shape[dim] - 1) * step + 1, step)
    return [_within(one, dim, size, places, shape)]


def _selected(node: Node, cotangents: Cotangents) -> Cotangents:
    one, shape = _only(cotangents), node.shape(0)
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
    one, axis = _only(cotangents), signed(node.saved("dim"))
    dim, parts, start = one.dim(axis), list[Cotangent | None](), 0
    for place, wanted in enumerate(node.wanted):
        if node.edges[place][0] is None:
            _unknown()  # the length of an input that does not train is not known
        shape = node.shape(place)
        parts.append(one.with_(one.values.narrow(dim, start, shape[axis]), shape) if wanted else None)
        start += shape[axis]
    return parts


def _product(node: Node, cotangents: Cotangents, left: str = "self", first: int = 0) -> Cotangents:
    """Of two matrices `[n, i]` and `[i, o]`, each row of the left one a place, or none."""
    one = _only(cotangents)
    if first and node.saved("beta") != 1 or first and node.saved("alpha") != 1:
        _unknown()
    added: list[Cotangent | None] = []
    if first:
        added = [one.reduced(node.shape(0)) if node.wanted[0] else None]
    at_left = at_right = None
    if node.wanted[first]:
        if one.layout is not None and one.axis != 0:
            raise NotByRows
        at_left = one.with_(one.values @ node.saved("mat2").mT, node.shape(first))
    if node.wanted[first + 1]:
        whole = one.whole()
        at_right = Cotangent(node.saved(left).mT @ whole.values, node.shape(first + 1))
    return [*added, at_left, at_right]


def _product_and_sum(node: Node, cotangents: Cotangents) -> Cotangents:
    return _product(node, cotangents, "mat1", 1)


def _products(node: Node, cotangents: Cotangents) -> Cotangents:
    """Of two stacks of matrices."""
    one = _only(cotangents).whole()
    at_left = at_right = None
    if node.wanted[0]:
        at_left = Cotangent(one.values @ node.saved("mat2").mT, node.shape(0))
    if node.wanted[1]:
        at_right = Cotangent(node.saved("self").mT @ one.values, node.shape(1))
    return [at_left, at_right]


def _layer_norm(node: Node, cotangents: Cotangents) -> Cotangents:
    one, inputs, weight = _only(cotangents), node.saved("input"), node.saved("weight")
    scale = node.saved("result2")
    normal = node.table("normal", lambda: (inputs - node.saved("result1")) * scale)
    axes = len(node.saved("normalized_shape"))
    if one.layout is not None and one.axis >= len(one.shape) - axes:
        raise NotByRows
    dims = list(range(-axes, 0))
    rows, at_weight, at_bias = one.at(normal), None, None
    if len(node.wanted) > 1 and node.wanted[1]:
        at_weight = one.with_(one.values * rows).reduced(tuple(weight.shape))
    if len(node.wanted) > 2 and node.wanted[2]:
        at_bias = one.reduced(node.shape(2))
    if not node.wanted[0]:
        return [None, at_weight, at_bias]
    grown = one.values if weight is None else one.values * weight
    along = (grown * rows).mean(dims, keepdim=True)
    moved = (grown - grown.mean(dims, keepdim=True)).addcmul_(along, rows, value=-1).mul_(one.at(scale))
    return [one.with_(moved), at_weight, at_bias]


def _convolution(node: Node, cotangents: Cotangents) -> Cotangents:
    """Where its bias alone is asked for; the weight of patches is read off the result."""
    one = _only(cotangents).whole()
    if any(node.wanted[:2]):
        _unknown()
    dims = [axis + 1 for axis in range(len(one.shape)) if axis != 1]
    return [None, None, Cotangent(one.values.sum(dims), node.shape(2))]


def _scattered(node: Node, cotangents: Cotangents) -> Cotangents:
    """Of a tensor in which the places of a mask are replaced, in order, by rows of a source."""
    one, mask = _only(cotangents), node.saved("mask")
    return [_kept(node, one, mask), _at_mask(node, one, mask.expand(one.shape))]


def _put(node: Node, cotangents: Cotangents) -> Cotangents:
    """Of a tensor in which the places of a mask of its first axes are replaced by a source."""
    one, mask = _only(cotangents), _mask(node)
    if node.wanted[1] and _is_broadcast(node, one, mask):
        _unknown()
    if node.saved("accumulate"):
        return [one if node.wanted[0] else None, _at_mask(node, one, mask)]
    rows = mask[(...,) + (None,) * (len(one.shape) - mask.ndim)]
    return [_kept(node, one, rows), _at_mask(node, one, mask)]


def _taken(node: Node, cotangents: Cotangents) -> Cotangents:
    """Of the places of a mask of a tensor's first axes."""
    one, mask, shape = _only(cotangents).whole(), _mask(node), node.shape(0)
    whole = one.values.new_zeros(len(one.values), mask.numel(), *shape[mask.ndim :])
    whole.index_copy_(1, _places(node, mask, one.shape[0]), one.values)
    return [Cotangent(whole.reshape(-1, *shape), shape)]


def _mask(node: Node) -> Tensor:
    (mask, *others) = node.saved("indices")
    if mask is None or mask.dtype != torch.bool or any(other is not None for other in others):
        _unknown()
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


ELEMENTWISE = frozenset(
    f"{name}Backward0"
    for name in [
        "Abs",
        "Acos",
        "Asin",
        "Atan",
        "ClampMax",
        "ClampMin",
        "Clamp",
        "Cos",
        "Elu",
        "Erf",
        "Exp",
        "Expm1",
        "Gelu",
        "Hardsigmoid",
        "Hardswish",
        "Hardtanh",
        "LeakyRelu",
        "Log",
        "Log1P",
        "LogSigmoid",
        "Mish",
        "Pow",
        "Reciprocal",
        "Relu",
        "Rsqrt",
        "Sigmoid",
        "Silu",
        "Sin",
        "Softplus",
        "Sqrt",
        "Tanh",
    ]
)
"""Nodes of functions of one tensor, entry by entry."""
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    "ClampBackward1": _elementwise,
    "AddBackward0": _add,
    "SubBackward0": _subtract,
    "MulBackward0": _multiply,
    "DivBackward0": _divide,
    "NegBackward0": _negative,
    "ToCopyBackward0": _cast,
    "CloneBackward0": _same,
    "AliasBackward0": _same,
    "MaskedFillBackward0": _masked_fill,
    "SoftmaxBackward0": _softmax,
    "MeanBackward1": _mean,
    "SumBackward1": _sum,
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
    "MmBackward0": _product,
    "AddmmBackward0": _product_and_sum,
    "BmmBackward0": _products,
    "NativeLayerNormBackward0": _layer_norm,
    "ConvolutionBackward0": _convolution,
    "MaskedScatterBackward0": _scattered,
    "IndexPutBackward0": _put,
    "IndexBackward0": _taken,
}
"""By the name of the node."""
