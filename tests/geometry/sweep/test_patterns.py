"""Nodes that are taken as one: what is recognised, what is not, and that both are right when whole."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from geometry.gramian.sweep import walk
from geometry.gramian.sweep.patterns import joined
from tests.geometry.problems import normal
from tests.geometry.sweep.layers import BY_PLACE, HEADS, WIDTH, heads, partly_rotated, rms, rotated
from tests.geometry.sweep.walked import assert_whole, leaf

RECOGNISED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "norm": rms,
    "norm-weight-right": lambda x, w: rms(x) * w,
    "norm-one-more": lambda x, w: (1.0 + w) * rms(x),
    "norm-plain": lambda x, w: rms(x),
    "norm-frozen": lambda x, w: rms(x, w.detach()),
    "rotary": lambda x, w: rotated(heads(x, 2)),
    "rotary-part": lambda x, w: partly_rotated(heads(x, 2), 2),
    "gate": lambda x, w: F.silu(x) * (x + w),
    "gate-right": lambda x, w: w.expand(1, 5, WIDTH) * F.gelu(x, approximate="tanh"),
    "gate-of-two": lambda x, w: F.relu(x) * F.sigmoid(x),
    "linear": lambda x, w: F.linear(x, w.outer(w)),
    "linear-bias": lambda x, w: F.linear(x, w.outer(w), w),
    "linear-of-four-axes": lambda x, w: F.linear(x.view(1, 5, 2, 4), w.view(2, 4)),
}
ALIKE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "root-of-a-sum": lambda x, w: w * (x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) + 1)),
    "mean-of-another-axis": lambda x, w: w * (x * torch.rsqrt(x.pow(2).mean(-2, keepdim=True) + 1)),
    "mean-of-two-axes": lambda x, w: w * (x * torch.rsqrt(x.pow(2).mean((-1, -2), keepdim=True) + 1)),
    "mean-of-cubes": lambda x, w: w * (x * torch.rsqrt(x.abs().pow(3).mean(-1, keepdim=True) + 1)),
    "mean-of-another": lambda x, w: w * (x * torch.rsqrt((x + 1).pow(2).mean(-1, keepdim=True) + 1)),
    "root-scaled": lambda x, w: w * (x * torch.rsqrt(torch.add(1.0 + 0 * w[0], x.pow(2).mean(-1, True), alpha=2))),
    "trained-epsilon": lambda x, w: w * (x * torch.rsqrt(x.pow(2).mean(-1, True) + w.square())),
    "weight-of-places": lambda x, w: x.mT * torch.rsqrt(x.mT.pow(2).mean(-1, True) + 1) * w[:, None],
    "halves-swapped-otherwise": lambda x, w: x * w + torch.cat([x[..., 4:], -x[..., :4]], -1) * normal(WIDTH),
    "halves-without-a-sign": lambda x, w: x * normal(WIDTH) + torch.cat([x[..., 4:], x[..., :4]], -1) * normal(WIDTH),
    "uneven-parts": lambda x, w: x * normal(WIDTH) + torch.cat([-x[..., 3:], x[..., :3]], -1) * normal(WIDTH, seed=1),
    "rotated-by-trained": lambda x, w: x * w + torch.cat([-x[..., 4:], x[..., :4]], -1) * (w + 1),
    "rotated-minus": lambda x, w: x * normal(WIDTH) - torch.cat([-x[..., 4:], x[..., :4]], -1) * normal(WIDTH, seed=1),
    "rotated-of-another": lambda x, w: (
        x * normal(WIDTH) + torch.cat([-(x + w)[..., 4:], x[..., :4]], -1) * normal(WIDTH, seed=1)
    ),
    "activation-used-twice": lambda x, w: (lambda a: a * w + a)(F.silu(x)),
    "gate-broadcast": lambda x, w: F.sigmoid(x[..., :1]) * (x + w),
    "scaled-product": lambda x, w: torch.addmm(w, x[0], w.outer(w), alpha=2).view(1, 5, WIDTH),
    "product-seen-otherwise": lambda x, w: (x[0] @ w.outer(w)).view(1, 5, 2, 4),
    "product-used-twice": lambda x, w: (lambda p: p.view(1, 5, WIDTH) * p)(x[0] @ w.outer(w)),
    "input-seen-otherwise": lambda x, w: (x.view(1, 10, 4).view(5, WIDTH) @ w.outer(w)).view(1, 5, WIDTH),
    "input-columns-mixed": lambda x, w: (x.view(10, 4) @ w.view(2, 4).mT).view(1, 5, 4),
}


@pytest.mark.parametrize("function", (RECOGNISED | ALIKE).values(), ids=RECOGNISED | ALIKE)
def test_is_right(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    hidden, weight = leaf(1, 5, WIDTH), leaf(WIDTH, seed=1)
    assert_whole([hidden, weight], function(hidden.tanh() + 0.1, weight))


@pytest.mark.parametrize("function", RECOGNISED.values(), ids=RECOGNISED)
def test_is_recognised(function: Callable[[Tensor, Tensor], Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    matches: list[Mapping] = []
    monkeypatch.setattr(walk, "joined", lambda *args: matches.append(joined(*args)) or matches[-1])
    hidden, weight = leaf(1, 5, WIDTH), leaf(WIDTH, seed=1)
    assert_whole([hidden, weight], function(hidden.tanh() + 0.1, weight))
    assert matches and all(matches)


@pytest.mark.parametrize("name", BY_PLACE)
def test_layers_whole(name: str) -> None:
    made = BY_PLACE[name](1)
    hidden = leaf(1, HEADS, WIDTH, seed=9)
    assert_whole([hidden, *made.parameters], made.apply(hidden * 0.7))
