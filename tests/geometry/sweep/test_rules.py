"""Every rule of a kind of node: all cotangents at once against backward passes of torch, one seed at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from geometry.gramian.sweep.rules import RULES
from tests.geometry.sweep.cases import CASES, Case
from tests.geometry.sweep.walked import assert_whole, leaf, nodes_behind


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_rule_is_right(case: Case) -> None:
    assert_whole(*case())


def test_every_rule_has_a_case() -> None:
    met = {node.name() for case in CASES.values() for node in nodes_behind(case()[1])}
    assert set(RULES) <= met, set(RULES) - met


@st.composite
def broadcasting(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Draw two shapes that broadcast against each other."""
    whole = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    shapes = []
    for _ in range(2):
        kept = whole[draw(st.integers(0, len(whole) - 1)) :]
        shapes.append(tuple(size if draw(st.booleans()) else 1 for size in kept))
    return shapes[0], shapes[1]


@settings(max_examples=25)
@given(shapes=broadcasting(), operation=st.sampled_from([torch.add, torch.sub, torch.mul, torch.div]))
def test_shapes_that_broadcast(shapes: tuple[tuple[int, ...], tuple[int, ...]], operation) -> None:
    one, two = leaf(*shapes[0]), leaf(*shapes[1], seed=1)
    assert_whole([one, two], operation(one, two.square() + 1))


@settings(max_examples=25)
@given(data=st.data(), size=st.integers(1, 7))
def test_slices(data: st.DataObject, size: int) -> None:
    whole = leaf(2, size, 3)
    start, stop = data.draw(st.integers(-size, size - 1)), data.draw(st.integers(-size, size + 3))
    part = whole[:, start : stop : data.draw(st.integers(1, 3))]
    if part.numel():
        assert_whole([whole], part)


@settings(max_examples=25)
@given(order=st.permutations(range(4)), dims=st.sets(st.integers(-4, 3), max_size=3), keepdim=st.booleans())
def test_axes_in_any_order_and_sums(order: list[int], dims: set[int], keepdim: bool) -> None:
    whole = leaf(2, 1, 3, 2)
    dims = {dim % 4 for dim in dims}
    turned = whole.permute(order)
    assert_whole([whole], turned.sum(tuple(dims), keepdim) if dims else turned)


class Cubed(torch.autograd.Function):
    """A function with a backward pass of its own."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x * x * gradient


class Scaled(torch.autograd.Function):
    """A function of two tensors, one of which it does not differentiate, and a number; vmap refuses its way back."""

    @staticmethod
    def forward(ctx, factor: float, frozen: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        ctx.factor = factor
        return factor * x * frozen, y + x

    @staticmethod
    def backward(ctx, one: Tensor, two: Tensor) -> tuple[None, None, Tensor, None]:
        scale = ctx.factor if float(one.square().sum()) >= 0 else 0.0
        return None, None, scale * one + two, None


class CubedByRows(Cubed):
    """The same, of a kind that vmap takes."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x**3

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)


def doubled_in_place(x: Tensor) -> Tensor:
    copied = x.clone()
    copied[:, 1:] *= 2
    return copied.mul_(3).add_(x)


WITHOUT_A_RULE = {
    "cumsum": lambda x: x.cumsum(1),
    "flip": lambda x: x.flip(0),
    "log-softmax": lambda x: x.log_softmax(-1),
    "var": lambda x: x.var(-1),
    "max": lambda x: x.max(-1).values,
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "repeat": lambda x: x.repeat(2, 1),
    "gather": lambda x: x.gather(1, torch.tensor([[0, 2]] * 3)),
    "sum-of-all": lambda x: x.sum() * x,
    "complex": lambda x: torch.view_as_real(torch.view_as_complex(x.reshape(3, 2, 2)) * (0.3 + 1j)),
    "fourier": lambda x: torch.fft.rfft(x).abs(),
    "in-place": doubled_in_place,
    "group-norm": lambda x: torch.nn.functional.group_norm(x.unsqueeze(-1), 2),
    "own-function": Cubed.apply,
    "own-function-of-more": lambda x: Scaled.apply(2.0, torch.ones(3, 4).double(), x, x.exp())[0],
    "own-function-of-two-results": lambda x: torch.mul(*Scaled.apply(2.0, torch.ones(3, 4).double(), x, x.exp())),
    "own-function-for-vmap": CubedByRows.apply,
}


@pytest.mark.parametrize("function", WITHOUT_A_RULE.values(), ids=WITHOUT_A_RULE)
def test_a_node_without_a_rule_goes_by_itself(function) -> None:
    whole = leaf(3, 4)
    assert_whole([whole], function(2 * whole) * 0.5)
