"""Small graphs, each with the leaves whose gradients are asked for: every kind of node that has a rule, and more."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.geometry.problems import normal
from tests.geometry.sweep.walked import leaf

Case = Callable[[], tuple[list[nn.Parameter], Tensor]]
"""Makes the leaves and a result."""

MASK = normal(3, 4, seed=70) > 0
ROWS = torch.tensor([True, False, True])


def of(function: Callable[..., Tensor], *shapes: tuple[int, ...]) -> Case:
    """Return the case of a function of leaves of these shapes."""

    def made() -> tuple[list[nn.Parameter], Tensor]:
        leaves = [leaf(*shape, seed=place) for place, shape in enumerate(shapes)]
        return leaves, function(*leaves)

    return made


def positive(function: Callable[[Tensor], Tensor]) -> Case:
    """Return the case of a function of numbers above 0."""
    return of(lambda x: function(x.square() + 0.5), (3, 4))


SMOOTH = (
    "elu",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "silu",
    "softplus",
)
ELEMENTWISE: dict[str, Case] = {
    **{
        name: of(getattr(torch, name), (3, 4))
        for name in ["abs", "atan", "cos", "erf", "exp", "expm1", "relu", "sigmoid", "sin", "square", "tanh"]
    },
    **{name: of(getattr(F, name), (3, 4)) for name in SMOOTH},
    **{name: positive(getattr(torch, name)) for name in ["log", "log1p", "reciprocal", "rsqrt", "sqrt"]},
    "acos": of(lambda x: (x.tanh() * 0.9).acos(), (3, 4)),
    "asin": of(lambda x: (x.tanh() * 0.9).asin(), (3, 4)),
    "clamp": of(lambda x: x.clamp(-0.5, 0.5), (3, 4)),
    "clamp-min": of(lambda x: x.clamp_min(0.1), (3, 4)),
    "clamp-max": of(lambda x: x.clamp_max(0.1), (3, 4)),
    "clamp-by-tensors": of(lambda x: x.clamp(-normal(3, 4).abs(), normal(3, 4, seed=1).abs()), (3, 4)),
    "pow": positive(lambda x: x**1.7),
    "gelu-tanh": of(lambda x: F.gelu(x, approximate="tanh"), (3, 4)),
}

ARITHMETIC: dict[str, Case] = {
    "add": of(lambda x, y: torch.add(x, y, alpha=-1.5), (3, 4), (3, 4)),
    "add-number": of(lambda x: 2 + x, (3, 4)),
    "add-broadcast-left": of(torch.add, (4,), (2, 3, 4)),
    "add-broadcast-right": of(lambda x, y: torch.add(x, y, alpha=3), (2, 3, 4), (3, 1)),
    "add-broadcast-both": of(torch.add, (2, 1, 4), (3, 1)),
    "add-to-itself": of(lambda x: x + x, (3, 4)),
    "subtract": of(lambda x, y: torch.sub(x, y, alpha=2), (3, 1), (3, 4)),
    "subtract-from-number": of(lambda x: 1 - x, (3, 4)),
    "multiply": of(torch.mul, (3, 4), (3, 4)),
    "multiply-by-itself": of(lambda x: x * x, (3, 4)),
    "multiply-broadcast": of(torch.mul, (3, 1), (2, 1, 4)),
    "multiply-by-number": of(lambda x: x * 0.3, (3, 4)),
    "multiply-by-constant": of(lambda x: normal(2, 3, 1) * x, (3, 4)),
    "multiply-by-scalar-tensor": of(torch.mul, (3, 4), ()),
    "divide": of(lambda x, y: x / (y.square() + 1), (3, 4), (4,)),
    "divide-broadcast-left": of(lambda x, y: x / (y.square() + 1), (3, 1), (2, 3, 4)),
    "divide-by-number": of(lambda x: x / 3, (3, 4)),
    "divide-number": of(lambda x: 2.0 / (x.square() + 1), (3, 4)),
    "divide-constant": of(lambda x: normal(2, 3, 1) / (x.square() + 1), (3, 4)),
    "negative": of(torch.neg, (3, 4)),
    "cast": of(lambda x: x.to(torch.float64, copy=True), (3, 4)),
    "clone": of(torch.clone, (3, 4)),
    "detached": of(lambda x: x * x.detach(), (3, 4)),
    "alias": of(lambda x: torch.ops.aten.alias(x), (3, 4)),
}

REDUCTIONS: dict[str, Case] = {
    f"{name}-{number}": of(lambda x, name=name, dims=dims: getattr(x, name)(**dims), (2, 3, 4))
    for name in ("sum", "mean")
    for number, dims in enumerate(
        [
            {"dim": 1},
            {"dim": -1, "keepdim": True},
            {"dim": (0, 2)},
            {"dim": (-1, -2), "keepdim": True},
            {"dim": 0, "keepdim": True},
            {"dim": (0, 1, 2), "keepdim": True},
        ]
    )
} | {
    "softmax": of(lambda x: x.softmax(-1), (2, 3, 4)),
    "softmax-of-another-axis": of(lambda x: x.softmax(0), (2, 3, 4)),
    "softmax-of-the-middle": of(lambda x: x.softmax(-2), (2, 3, 4)),
    "expand": of(lambda x: x.expand(2, 3, 4), (3, 1)),
    "expand-in-front": of(lambda x: x.expand(5, -1, -1), (3, 4)),
}

SHAPES: dict[str, Case] = {
    "view": of(lambda x: x.view(4, 6), (2, 3, 4)),
    "unsafe-view": of(lambda x: torch.ops.aten._unsafe_view(x, [6, 4]), (2, 3, 4)),
    "reshape": of(lambda x: x.mT.reshape(6, 4), (2, 3, 4)),
    "reshape-alias": of(lambda x: torch.ops.aten._reshape_alias(x, [6, 4], [4, 1]), (2, 3, 4)),
    "flatten": of(lambda x: x.flatten(1), (2, 3, 4)),
    "squeeze": of(lambda x: x.squeeze(), (1, 3, 1, 4)),
    "squeeze-one": of(lambda x: x.squeeze(-2), (1, 3, 1, 4)),
    "squeeze-some": of(lambda x: x.squeeze((0, 2)), (1, 3, 1, 4)),
    "unsqueeze": of(lambda x: x.unsqueeze(-1), (3, 4)),
    "t": of(lambda x: x.t(), (3, 4)),
    "transpose": of(lambda x: x.transpose(-1, 0), (2, 3, 4)),
    "permute": of(lambda x: x.permute(2, 0, 3, 1), (2, 3, 4, 5)),
    "permute-negative": of(lambda x: x.permute(-1, 0, -2), (2, 3, 4)),
    "slice": of(lambda x: x[:, 1:3], (2, 5, 4)),
    "slice-with-steps": of(lambda x: x[:, 1::2, ::3], (2, 5, 4)),
    "slice-from-behind": of(lambda x: x[..., -3:-1], (2, 5, 4)),
    "slice-of-all": of(lambda x: x[:, 0:], (2, 5, 4)),
    "slice-of-one": of(lambda x: x[:, 3:4], (2, 5, 4)),
    "slice-steps-past-the-end": of(lambda x: x[:, 3:99:4], (2, 5, 4)),
    "select": of(lambda x: x[:, 2], (2, 5, 4)),
    "select-negative": of(lambda x: x.select(-1, -2), (2, 5, 4)),
    "select-of-one": of(lambda x: x[0], (1, 5, 4)),
    "unbind": of(lambda x: torch.stack([2 * x.unbind(1)[0], x.unbind(1)[2]]), (2, 3, 4)),
    "unbind-one-unused": of(lambda x: (lambda a, _, c: a * c)(*x.unbind(-2)), (2, 3, 4)),
    "split": of(lambda x: (lambda a, b, _: a * b)(*x.split(2, -1)), (3, 5)),
    "split-last-used": of(lambda x: x.split(2, 0)[1], (3, 5)),
    "split-with-sizes": of(lambda x: (lambda a, _, c: a * c)(*x.split([2, 1, 2], 1)), (3, 5)),
    "chunk": of(lambda x: x.chunk(2, -1)[1] * 2, (3, 6)),
    "cat": of(lambda x, y: torch.cat([x, y], -1), (3, 4), (3, 2)),
    "cat-with-a-constant": of(lambda x, y: torch.cat([normal(1, 4), x, normal(2, 4), y]), (3, 4), (2, 4)),
    "cat-with-itself": of(lambda x: torch.cat([x, x], 1), (3, 4)),
    "cat-with-a-frozen-function": of(lambda x, y: torch.cat([x, y.detach()], 0), (3, 4), (2, 4)),
    "stack": of(lambda x, y: torch.stack([x, y], 1), (3, 4), (3, 4)),
}

MASKS: dict[str, Case] = {
    "masked-fill": of(lambda x: x.masked_fill(MASK, -1.0), (2, 3, 4)),
    "masked-fill-broadcast": of(lambda x: x.masked_fill(MASK, 2.0), (1, 4)),
    "masked-fill-trained-value": of(lambda x, y: x.masked_fill(MASK, y), (3, 4), ()),
    "masked-scatter": of(lambda x, y: x.masked_scatter(MASK, y), (3, 4), (int(MASK.sum()),)),
    "masked-scatter-more-than-needed": of(lambda x, y: x.masked_scatter(MASK, y), (3, 4), (12,)),
    "masked-scatter-rows": of(lambda x, y: x.masked_scatter(ROWS[:, None].expand(3, 4), y), (3, 4), (2, 4)),
    "masked-scatter-of-a-constant": of(lambda y: normal(3, 4).masked_scatter(MASK, y), (int(MASK.sum()),)),
    "masked-scatter-none": of(lambda x, y: x.masked_scatter(torch.zeros(3, 4) > 0, y), (3, 4), (2,)),
    "put-rows": of(lambda x, y: x.index_put((ROWS,), y), (3, 4), (2, 4)),
    "put-entries": of(lambda x, y: x.index_put((MASK,), y), (3, 4, 2), (int(MASK.sum()), 2)),
    "put-one-value": of(lambda x, y: x.index_put((ROWS,), y), (3, 4), ()),
    "put-one-row": of(lambda x, y: x.index_put((ROWS,), y), (3, 4), (4,)),
    "put-accumulating": of(lambda x, y: x.index_put((ROWS,), y, accumulate=True), (3, 4), (2, 4)),
    "put-at-ids": of(lambda x, y: x.index_put((torch.tensor([2, 0]),), y), (3, 4), (2, 4)),
    "put-in-place": of(lambda x, y: put(x.clone(), y), (3, 4), (2, 4)),
    "put-in-columns": of(lambda x, y: put_columns(x.clone(), y), (2, 3), (2, 2)),
    "take-rows": of(lambda x: x[ROWS], (3, 4)),
    "take-entries": of(lambda x: x[MASK], (3, 4, 2)),
    "take-of-columns": of(lambda x: x[:, ROWS], (2, 3)),
    "take-ids": of(lambda x: x[torch.tensor([2, 0, 2])], (3, 4)),
    "take-negative-ids": of(lambda x: x[torch.tensor([-1, 0])], (3, 4)),
    "take-pairs": of(lambda x: x[torch.tensor([2, 0]), torch.tensor([1, 1])], (3, 4)),
}


def put(whole: Tensor, rows: Tensor) -> Tensor:
    """Put rows in the places of a mask, in place."""
    whole[ROWS] = rows
    return whole


def put_columns(whole: Tensor, columns: Tensor) -> Tensor:
    """Put columns in the places of a mask, in place."""
    whole[:, ROWS] = columns
    return whole


PRODUCTS: dict[str, Case] = {
    "mm": of(torch.mm, (3, 4), (4, 5)),
    "mm-with-itself": of(lambda x: x @ x, (4, 4)),
    "mm-with-a-constant": of(lambda x: normal(2, 3) @ x, (3, 4)),
    "addmm": of(torch.addmm, (5,), (3, 4), (4, 5)),
    "addmm-scaled": of(lambda b, x, y: torch.addmm(b, x, y, alpha=2, beta=-0.5), (5,), (3, 4), (4, 5)),
    "addmm-whole": of(torch.addmm, (3, 5), (3, 4), (4, 5)),
    "bmm": of(torch.bmm, (2, 3, 4), (2, 4, 5)),
    "baddbmm": of(lambda b, x, y: torch.baddbmm(b, x, y, alpha=2), (2, 3, 5), (2, 3, 4), (2, 4, 5)),
    "matmul-broadcast": of(torch.matmul, (2, 1, 3, 4), (5, 4, 2)),
    "mv": of(torch.mv, (3, 4), (4,)),
    "einsum": of(lambda x, y: torch.einsum("bij,bkj->bik", x, y), (2, 3, 4), (2, 5, 4)),
    "linear-2": of(F.linear, (3, 4), (5, 4), (5,)),
    "linear-2-no-bias": of(F.linear, (3, 4), (5, 4)),
    "linear-3": of(F.linear, (2, 3, 4), (5, 4), (5,)),
    "linear-3-no-bias": of(F.linear, (2, 3, 4), (5, 4)),
    "linear-4": of(F.linear, (2, 2, 3, 4), (5, 4), (5,)),
    "linear-4-no-bias": of(F.linear, (2, 2, 3, 4), (5, 4)),
    "linear-one-output": of(F.linear, (2, 3, 4), (1, 4), (1,)),
    "linear-of-a-constant": of(lambda w, b: F.linear(normal(2, 3, 4), w, b), (5, 4), (5,)),
    "linear-frozen": of(lambda x: F.linear(x, normal(5, 4), normal(5)), (2, 3, 4)),
    "linear-bias-alone": of(lambda b: F.linear(normal(2, 3, 4), normal(5, 4), b), (5,)),
    "convolution": of(lambda x, w, b: F.conv2d(x, w, b, stride=2), (2, 3, 4, 4), (5, 3, 2, 2), (5,)),
    "convolution-bias-alone": of(lambda b: F.conv2d(normal(2, 3, 4, 4), normal(5, 3, 2, 2), b), (5,)),
}

NORMS: dict[str, Case] = {
    "layer-norm": of(lambda x, w, b: F.layer_norm(x, (4,), w, b), (2, 3, 4), (4,), (4,)),
    "layer-norm-plain": of(lambda x: F.layer_norm(x, (4,)), (2, 3, 4)),
    "layer-norm-no-bias": of(lambda x, w: F.layer_norm(x, (4,), w), (2, 3, 4), (4,)),
    "layer-norm-bias-alone": of(lambda b: F.layer_norm(normal(2, 3, 4), (4,), normal(4), b), (4,)),
    "layer-norm-frozen": of(lambda x: F.layer_norm(x, (4,), normal(4), normal(4)), (2, 3, 4)),
    "layer-norm-two-axes": of(lambda x, w, b: F.layer_norm(x, (3, 4), w, b), (2, 3, 4), (3, 4), (3, 4)),
    "layer-norm-all-axes": of(lambda x: F.layer_norm(x, (2, 3, 4)), (2, 3, 4)),
}
CASES = ELEMENTWISE | ARITHMETIC | REDUCTIONS | SHAPES | MASKS | PRODUCTS | NORMS
"""By a name of its own."""
