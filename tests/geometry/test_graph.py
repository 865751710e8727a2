"""Uses of parameters that are read off the graph: each way alone, in float64, against plain backward passes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear

from geometry import BASIS, Cotangents, FourViews, Gramian, ProbedResponse, cotangents
from geometry.gramian.backward import TEXT
from tests.geometry.problems import normal, tensor
from tests.geometry.test_gramian import MIXED

Way = Callable[[nn.Parameter, Tensor], Tensor]
"""From a parameter `[4, 4]` or `[3, 4, 4]` and hidden states `[5, 4]` to others."""

IDS = torch.tensor([3, 0, 3, 1, 2])


def stacked(hidden: Tensor) -> Tensor:
    return torch.stack([hidden, hidden.flip(0), hidden * torch.arange(5)[:, None].eq(2)])


WAYS: dict[str, Way] = {
    "linear": lambda w, h: linear(h, w),
    "matmul": lambda w, h: h @ w,
    "left": lambda w, h: (w @ h.T).T,
    "left-transposed": lambda w, h: (w.T @ h.T).T,
    "addmm": lambda w, h: torch.addmm(h, h, w),
    "twice": lambda w, h: linear(linear(h, w).tanh(), w),
    "embedding": lambda w, h: h + 3 * embedding(IDS, w, padding_idx=3),
    "indexed": lambda w, h: h + w[IDS] * w[IDS - 4],
    "indexed-and-linear": lambda w, h: linear(h + w[IDS], w),
}
STACKS: dict[str, Way] = {
    "slices": lambda w, h: linear(h[:3], w[0]).sum(0) + linear(h, w[torch.tensor(2)]),
    "negative": lambda w, h: h @ w[-1] + h @ w.select(-3, -2),
    "transposed-slices": lambda w, h: h @ w[1].T + h @ w.mT[0] + h @ w.transpose(-1, 1)[1] + h @ w[2].t(),
    "permuted": lambda w, h: h @ w.permute(0, 2, 1)[1] + h @ w[0].permute(1, 0),
    "unbound": lambda w, h: sum(linear(h, matrix) for matrix in w.unbind(0)[::2]),
    "bmm": lambda w, h: torch.bmm(stacked(h), w).sum(0),
    "bmm-left": lambda w, h: torch.bmm(w, stacked(h).mT).mT.sum(0),
    "bmm-transposed": lambda w, h: torch.bmm(stacked(h), w.transpose(1, 2)).sum(0),
    "baddbmm": lambda w, h: torch.baddbmm(stacked(h), stacked(h), w).sum(0),
    "bmm-and-slice": lambda w, h: torch.bmm(stacked(h), w).sum(0) + h @ w[1],
}
DENSE: dict[str, tuple[Way, tuple[int, ...]]] = {
    "einsum": (lambda w, h: torch.einsum("si,eio->so", h, w), (3, 4, 4)),
    "added": (lambda w, h: h + w[0], (4, 4)),
    "scaled": (lambda w, h: linear(h, 2 * w), (4, 4)),
    "alpha": (lambda w, h: torch.addmm(h, h, w, alpha=2), (4, 4)),
    "half-known": (lambda w, h: linear(h, w) * w.sum(), (4, 4)),
    "other-axis": (lambda w, h: h @ w.select(1, 0).T @ normal(3, 4, seed=9), (3, 4, 4)),
    "slice-of-rows": (lambda w, h: linear(h, w[:2]).repeat(1, 2), (4, 4)),
}


class OneParameter(nn.Module):
    """A student whose views differ by a shift of their hidden states, with one parameter used in some way."""

    def __init__(self, way: Way, shape: tuple[int, ...], text_way: Way | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(*shape, seed=1))
        self.hidden = nn.Parameter(normal(5, 4, seed=2))
        self.ways = {"image": way, "text": text_way or way}

    def forward(self, view: str, positions: Tensor) -> Tensor:
        hidden = self.hidden if view == "text" else self.hidden + normal(5, 4, seed=3)
        mixed = self.ways[view](self.weight, hidden).cumsum(0)
        return (mixed @ normal(4, 7, seed=4))[positions]

    def response(self) -> ProbedResponse:
        views = [lambda at, name=name: self(name, at) for name in ("image", "text")]
        return ProbedResponse(*views, self.cotangents(), torch.arange(5))

    def cotangents(self) -> Cotangents:
        with torch.no_grad():
            image, text = (self(name, torch.arange(5)) for name in ("image", "text"))
        return cotangents(FourViews(image, text, image + normal(5, 7, seed=7), text + normal(5, 7, seed=8)))

    def expected(self, weights: Tensor) -> Tensor:
        rows = []
        for name in BASIS:
            logits = self("text" if name in TEXT else "image", torch.arange(5))
            seed = weights.unsqueeze(-1) * getattr(self.cotangents(), name)
            rows.append(torch.autograd.grad(logits, self.weight, seed)[0].flatten())
        return torch.stack(rows) @ torch.stack(rows).T


def assert_exact(student: OneParameter, *, dense: bool) -> None:
    for options in ({}, {"chunk": 1, "batched": False}):
        engine = Gramian(student, {"weight": [student.weight]}, **options)
        gram = tensor(engine.units(student.response(), MIXED)["weight"])
        expected = torch.stack([student.expected(weights) for weights in MIXED])
        torch.testing.assert_close(gram, expected, rtol=1e-11, atol=1e-11)
        assert (student.weight in engine.watched.dense_matrices) is dense


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geometry.gramian.graph._WORTH", 1000)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_ways_to_use_a_matrix(way: Way) -> None:
    assert_exact(OneParameter(way, (4, 4)), dense=False)


@pytest.mark.parametrize("way", STACKS.values(), ids=STACKS)
def test_ways_to_use_a_stack(way: Way) -> None:
    assert_exact(OneParameter(way, (3, 4, 4)), dense=False)


@pytest.mark.parametrize(("way", "shape"), DENSE.values(), ids=DENSE)
def test_other_ways_are_dense_and_exact(way: Way, shape: tuple[int, ...]) -> None:
    assert_exact(OneParameter(way, shape), dense=True)


@pytest.mark.parametrize(
    ("image", "text", "dense"),
    [("matmul", "linear", False), ("linear", "embedding", False), ("twice", "left", False), ("linear", "added", True)],
)
def test_views_that_use_a_matrix_otherwise(image: str, text: str, dense: bool) -> None:
    ways = WAYS | {name: way for name, (way, _) in DENSE.items()}
    assert_exact(OneParameter(ways[image], (4, 4), ways[text]), dense=dense)
    assert_exact(OneParameter(ways[text], (4, 4), ways[image]), dense=dense)


def test_a_use_that_appears_later_is_met() -> None:
    """A model that routes otherwise than when it was first seen."""
    student = OneParameter(WAYS["linear"], (4, 4))
    engine = Gramian(student, {"weight": [student.weight]}, chunk=1)
    engine.units(student.response(), MIXED)
    assert not engine.watched.dense_matrices
    student.ways["text"] = DENSE["added"][0]
    gram = tensor(engine.units(student.response(), MIXED)["weight"])
    assert student.weight in engine.watched.dense_matrices
    torch.testing.assert_close(gram, torch.stack([student.expected(row) for row in MIXED]), rtol=1e-11, atol=1e-11)


def test_a_cast_is_seen_through() -> None:
    """The gradient that autograd hands on is rounded to the parameter's precision, factors are not."""
    student = OneParameter(lambda w, h: linear(h, w.to(torch.float64)), (4, 4))
    student.weight = nn.Parameter(student.weight.detach().float())
    engine = Gramian(student, {"weight": [student.weight]})
    gram = tensor(engine.units(student.response(), MIXED)["weight"])
    expected = torch.stack([student.expected(row).double() for row in MIXED])
    torch.testing.assert_close(gram, expected, rtol=1e-5, atol=1e-5)
    assert not engine.watched.dense_matrices


def test_results_larger_than_the_matrix_are_not_worth_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geometry.gramian.graph._WORTH", 1)
    assert_exact(OneParameter(WAYS["twice"], (4, 4)), dense=True)
