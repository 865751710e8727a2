"""Nodes that are taken as one: RMS norms, rotary embeddings, and products with an activation.

They are found in the graph by what they are made of. Their cotangents pass in a few operations in place of many; what
does not depend on the cotangents is made once.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from geometry.gramian.graph import signed
from geometry.gramian.sweep.cotangent import Cotangent, NotByRows
from geometry.gramian.sweep.entrywise import ELEMENTWISE
from geometry.gramian.sweep.node import Cotangents, Edge, Node, Rule, derivative, saved

Joined = tuple[list[Edge], Rule]
"""Where the inputs of several nodes come from, and their rule."""


def joined(nodes: Mapping[Any, Node], kept: Collection[Any]) -> dict[Any, Joined]:
    """Return by their last node those of a graph that are taken as one.

    kept: nodes whose results are asked for; they are joined with none that follows.
    """
    uses = Counter(edge for node in nodes.values() for edge in node.edges if edge[0] is not None)
    inner = {edge[0] for edge, count in uses.items() if count == 1 and edge[0] not in kept}
    return {node: match for node in nodes for kind in _KINDS.get(node.name(), ()) if (match := kind(node, inner))}


def _norm(node: Any, inner: Collection[Any]) -> Joined | None:
    """`w (x / rms(x))`, or without w."""
    weighed = [place for place, (before, _) in enumerate(node.next_functions) if before in inner and _normal(before)]
    if len(weighed) == 1 and _fits(weight := saved(node, ("self", "other")[1 - weighed[0]]), node):
        core = node.next_functions[weighed[0]][0]
        edge, scale = _require(_normal(core))
        edges = [edge, node.next_functions[1 - weighed[0]]]
        return edges, partial(_through_norm, weight=weight, scale=scale, core=core)
    if plain := _normal(node):
        return [plain[0]], partial(_through_norm, weight=None, scale=plain[1], core=node)
    return None


def _fits(weight: Any, node: Any) -> bool:
    (result,) = node._input_metadata
    return isinstance(weight, Tensor) and tuple(weight.shape) == tuple(result.shape[-1:])


def _normal(node: Any) -> tuple[Edge, Tensor] | None:
    """Of `x rsqrt(mean(x x) + eps)`: where x comes from, and the factor `[..., 1]`."""
    if node.name() != "MulBackward0":
        return None
    for place in (0, 1):
        edge, (inverse, _) = node.next_functions[place], node.next_functions[1 - place]
        if inverse is None or edge[0] is None:
            continue
        chain = _chain(inverse, ("RsqrtBackward0", "AddBackward0", "MeanBackward1", "PowBackward0"))
        if chain is None or chain[3].next_functions[0] != edge or chain[3]._saved_exponent != 2:
            continue
        dims = [signed(dim) % len(node._input_metadata[0].shape) for dim in chain[2]._saved_dim or ()]
        if dims == [len(node._input_metadata[0].shape) - 1] and chain[2]._saved_keepdim and _one_way(chain[1]):
            return edge, saved(chain[0], "result")
    return None


def _one_way(node: Any) -> bool:
    return sum(before is not None for before, _ in node.next_functions) == 1 and node._saved_alpha == 1


def _chain(node: Any, names: tuple[str, ...]) -> list[Any] | None:
    """The nodes of these names, each the first input of the one before."""
    nodes = []
    for name in names:
        if node is None or node.name() != name:
            return None
        nodes.append(node)
        node = node.next_functions[0][0]
    return nodes


def _through_norm(node: Node, arrived: Cotangents, weight: Tensor | None, scale: Tensor, core: Any) -> Cotangents:
    one = arrived[0]
    assert one is not None
    if one.axis == len(one.shape) - 1:
        raise NotByRows
    normal = node.table("normal", lambda: _of_core(core))
    product = one.times(normal)
    if weight is None:
        along, grown = product.sum(-1, keepdim=True), one.times(scale)
    else:
        along, grown = (product @ weight).unsqueeze(-1), one.times(node.table("weighed", lambda: scale * weight))
    shrunk = node.table("shrunk", lambda: normal * (scale / -normal.shape[-1]))
    moved = one.with_(grown).plus_times(along, shrunk)
    if weight is None:
        return [moved]
    return [moved, one.with_(product).reduced(tuple(weight.shape)) if node.wanted[1] else None]


def _of_core(core: Any) -> Tensor:
    return saved(core, "self") * saved(core, "other")


def _rotary(node: Any, inner: Collection[Any]) -> Joined | None:
    """`x cos + rotated(x) sin`, where rotated swaps the halves of x and turns the sign of one."""
    if node._saved_alpha != 1 or len(node.next_functions) != 2:
        return None
    for (straight, _), (turned, _) in (node.next_functions, node.next_functions[::-1]):
        if straight not in inner or turned not in inner:
            continue
        cosine, sine = _constant(straight), _constant(turned)
        if cosine is None or sine is None:
            continue
        edge, swapped = straight.next_functions[cosine[0]], turned.next_functions[sine[0]][0]
        if swapped in inner and _is_rotated(swapped, edge, inner):
            return [edge], partial(_through_rotary, cosine=cosine[1], sine=sine[1])
    return None


def _constant(node: Any) -> tuple[int, Tensor] | None:
    """Of a product with a tensor that does not train: the place of the other factor, and the tensor."""
    if node.name() != "MulBackward0":
        return None
    places = [place for place, (before, _) in enumerate(node.next_functions) if before is not None]
    factor = saved(node, ("other", "self")[places[0]]) if len(places) == 1 else None
    return (places[0], factor) if isinstance(factor, Tensor) else None


def _is_rotated(node: Any, edge: Edge, inner: Collection[Any]) -> bool:
    """Whether a node joins minus the second half of the last axis of what `edge` brings, and its first half."""
    if node.name() != "CatBackward0" or len(node.next_functions) != 2:
        return False
    negative, first = (before for before, _ in node.next_functions)
    rank = len(node._input_metadata[0].shape)
    if signed(node._saved_dim) % rank != rank - 1 or negative not in inner or first not in inner:
        return False
    if negative.name() != "NegBackward0":
        return False
    second, half = negative.next_functions[0][0], node._input_metadata[0].shape[-1] // 2
    return second in inner and _is_slice(second, edge, half, 2 * half) and _is_slice(first, edge, 0, half)


def _is_slice(node: Any, edge: Edge, start: int, stop: int) -> bool:
    if node.name() != "SliceBackward0" or node.next_functions[0] != edge:
        return False
    sizes = node._saved_self_sym_sizes
    axis = signed(node._saved_dim) % len(sizes)
    end = min(signed(node._saved_end), sizes[axis])
    return axis == len(sizes) - 1 and (node._saved_start, end, node._saved_step) == (start, stop, 1)


def _through_rotary(node: Node, arrived: Cotangents, cosine: Tensor, sine: Tensor) -> Cotangents:
    one = arrived[0]
    assert one is not None
    if one.axis == len(one.shape) - 1:
        raise NotByRows
    half = one.shape[-1] // 2
    straight, turned = (one.values * one.at(table, again=True) for table in (cosine, sine))
    straight[..., :half] += turned[..., half:]
    straight[..., half:] -= turned[..., :half]
    return [one.with_(straight)]


def _gated(node: Any, inner: Collection[Any]) -> Joined | None:
    """A product of which a factor is an elementwise function of something."""
    edges, active = list(node.next_functions), [False, False]
    for place, (before, _) in enumerate(edges):
        if before in inner and before.name() in ELEMENTWISE and _same_shape(before, node):
            edges[place], active[place] = before.next_functions[0], True
    return (edges, partial(_through_gate, before=node.next_functions, active=active)) if any(active) else None


def _same_shape(before: Any, node: Any) -> bool:
    return tuple(before._input_metadata[0].shape) == tuple(node._input_metadata[0].shape)


def _through_gate(node: Node, arrived: Cotangents, before: tuple[Edge, ...], active: list[bool]) -> Cotangents:
    one = arrived[0]
    assert one is not None
    passed: list[Cotangent | None] = [None, None]
    for place, name in enumerate(("other", "self")):
        if node.wanted[place]:
            factor = saved(node.node, name)
            if active[place]:
                function = before[place][0]
                factor = node.table(name, partial(_slope, factor, function))
            passed[place] = one.with_(one.times(factor)).reduced(node.shape(place))
    return passed


def _slope(factor: Tensor, function: Any) -> Tensor:
    return factor * derivative(function)


def _linear(node: Any, inner: Collection[Any]) -> Joined | None:
    """A product of rows with a matrix, with the views before it and behind it."""
    product = node.next_functions[0][0]
    if product not in inner or product.name() not in ("MmBackward0", "AddmmBackward0"):
        return None
    first = int(product.name() == "AddmmBackward0")
    if first and (saved(product, "alpha"), saved(product, "beta")) != (1, 1):
        return None
    edges = list(product.next_functions)
    before = edges[first][0]
    if before in inner and before.name() in _VIEWS and _last(before._saved_self_sym_sizes) == _last(_sizes(before)):
        edges[first] = before.next_functions[0]
    if _last(_sizes(node)) != _last(_sizes(product)):
        return None
    return edges, partial(_through_linear, product=product, first=first)


def _sizes(node: Any) -> tuple[int, ...]:
    return tuple(node._input_metadata[0].shape)


def _last(sizes: Sequence[int]) -> int:
    return sizes[-1] if sizes else 0


def _through_linear(node: Node, arrived: Cotangents, product: Any, first: int) -> Cotangents:
    one = arrived[0]
    assert one is not None
    if one.axis == len(one.shape) - 1:
        raise NotByRows
    passed: list[Cotangent | None] = [None] * len(node.wanted)
    if first and node.wanted[0]:
        passed[0] = one.reduced(node.shape(0))
    if node.wanted[first]:
        weight = saved(product, "mat2")
        rows = one.with_(one.values @ weight.mT, (*one.shape[:-1], len(weight)))
        passed[first] = rows.viewed(node.shape(first))
    if node.wanted[first + 1]:
        left = saved(product, ("self", "mat1")[first])
        whole = one.whole().values.flatten(1, -2)
        passed[first + 1] = Cotangent(left.mT @ whole, node.shape(first + 1))
    return passed


_VIEWS = ("ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0")


def _require(match: tuple[Edge, Tensor] | None) -> tuple[Edge, Tensor]:
    assert match is not None
    return match


_KINDS: Mapping[str, tuple[Callable[[Any, Collection[Any]], Joined | None], ...]] = {
    "MulBackward0": (_gated, _norm),
    "AddBackward0": (_rotary,),
    "ViewBackward0": (_linear,),
    "UnsafeViewBackward0": (_linear,),
}
"""What the last node of each name may be the last of; a later match is preferred."""
