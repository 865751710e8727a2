"""Rules of functions that work entry by entry, and of softmax.

Derivatives of functions of one tensor are asked of the node itself, once for all cotangents.
"""

from torch import Tensor

from geometry.gramian.graph import signed
from geometry.gramian.sweep.cotangent import Cotangent
from geometry.gramian.sweep.node import Cotangents, Node, Rule, derivative, only, unknown


def _elementwise(node: Node, cotangents: Cotangents) -> Cotangents:
    one = only(cotangents)
    return [one.with_(one.times(node.table("derivative", lambda: derivative(node.node))))]


def _add(node: Node, cotangents: Cotangents, sign: float = 1.0) -> Cotangents:
    one, scale = only(cotangents), sign * node.saved("alpha")
    other = one if scale == 1 else one.with_(one.values * scale)
    return [
        each.reduced(node.shape(place)) if wanted else None
        for place, (each, wanted) in enumerate(zip((one, other), node.wanted, strict=True))
    ]


def _subtract(node: Node, cotangents: Cotangents) -> Cotangents:
    return _add(node, cotangents, -1.0)


def _multiply(node: Node, cotangents: Cotangents) -> Cotangents:
    one = only(cotangents)
    return [
        one.with_(one.times(node.saved(factor))).reduced(node.shape(place)) if wanted else None
        for place, (factor, wanted) in enumerate(zip(("other", "self"), node.wanted, strict=True))
    ]


def _divide(node: Node, cotangents: Cotangents) -> Cotangents:
    one, below = only(cotangents), node.saved("other")
    over = one.with_(one.values / _factor(one, below))
    both: list[Cotangent | None] = [over.reduced(node.shape(0)) if node.wanted[0] else None, None]
    if node.wanted[1]:
        both[1] = over.with_(-over.values * one.at(node.saved("self") / below)).reduced(node.shape(1))
    return both


def _factor(one: Cotangent, factor: Tensor | float) -> Tensor | float:
    return one.at(factor) if isinstance(factor, Tensor) else factor


def _negative(node: Node, cotangents: Cotangents) -> Cotangents:
    one = only(cotangents)
    return [one.with_(-one.values)]


def _cast(node: Node, cotangents: Cotangents) -> Cotangents:
    one = only(cotangents)
    return [one.with_(one.values.to(node.dtype(0)))]


def _same(node: Node, cotangents: Cotangents) -> Cotangents:
    return [only(cotangents)]


def _masked_fill(node: Node, cotangents: Cotangents) -> Cotangents:
    one = only(cotangents)
    kept = one.with_(one.values.masked_fill(one.at(node.saved("mask")), 0)).reduced(node.shape(0))
    return [kept, *[None] * (len(node.wanted) - 1)] if not any(node.wanted[1:]) else unknown()


def _softmax(node: Node, cotangents: Cotangents) -> Cotangents:
    one, axis = only(cotangents), signed(node.saved("dim"))
    dim = one.dim(axis)
    weighed = one.values * one.at(node.saved("result"))
    return [one.with_(weighed - weighed.sum(dim, keepdim=True) * one.at(node.saved("result")))]


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
RULES: dict[str, Rule] = {
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
}
