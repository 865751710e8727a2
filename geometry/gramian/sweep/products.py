"""Rules of matrix products, convolutions and layer norms."""

from geometry.gramian.sweep.cotangent import Cotangent, NotByRows
from geometry.gramian.sweep.node import Cotangents, Node, Rule, only, unknown


def _product(node: Node, cotangents: Cotangents, left: str = "self", first: int = 0) -> Cotangents:
    """Of two matrices `[n, i]` and `[i, o]`, each row of the left one a place, or none."""
    one = only(cotangents)
    if first and node.saved("beta") != 1 or first and node.saved("alpha") != 1:
        unknown()
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
    one = only(cotangents).whole()
    at_left = at_right = None
    if node.wanted[0]:
        at_left = Cotangent(one.values @ node.saved("mat2").mT, node.shape(0))
    if node.wanted[1]:
        at_right = Cotangent(node.saved("self").mT @ one.values, node.shape(1))
    return [at_left, at_right]


def _layer_norm(node: Node, cotangents: Cotangents) -> Cotangents:
    one, inputs, weight = only(cotangents), node.saved("input"), node.saved("weight")
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
    one = only(cotangents).whole()
    if any(node.wanted[:2]):
        unknown()
    dims = [axis + 1 for axis in range(len(one.shape)) if axis != 1]
    return [None, None, Cotangent(one.values.sum(dims), node.shape(2))]


RULES: dict[str, Rule] = {
    "MmBackward0": _product,
    "AddmmBackward0": _product_and_sum,
    "BmmBackward0": _products,
    "NativeLayerNormBackward0": _layer_norm,
    "ConvolutionBackward0": _convolution,
}
