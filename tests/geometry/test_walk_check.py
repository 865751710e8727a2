"""The check of the walk against autograd: what is wrong, or not causal, is found and measured by autograd."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geometry import FourViews, Gramian, ProbedResponse, cotangents
from geometry.gramian.sweep import rules, walk
from tests.geometry.problems import normal, tensor
from tests.geometry.test_families import worst

WIDTH, N_IDS, PROMPT = 8, 11, 3
Mixing = Callable[[Tensor, Tensor, Tensor], Tensor]


def causal(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention to places up to each."""
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


def both_ways(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention to every place."""
    return F.scaled_dot_product_attention(query, key, value)


def ahead(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """A sum over a place, the one before, and the one behind."""
    padded = F.pad(value, (0, 0, 1, 1))
    return causal(query, key, value) + padded[:, :, :-2] + padded[:, :, 2:]


def first_blind(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention to every place within the prompt, and up to each behind it."""
    n = query.shape[2]
    seen = torch.ones(n, n, dtype=torch.bool).tril()
    seen[:PROMPT, :PROMPT] = True
    return F.scaled_dot_product_attention(query, key, value, attn_mask=seen[None, None])


class Student(nn.Module):
    """A language model of two layers; counts its runs."""

    def __init__(self, mixing: Mixing = causal, n_tokens: int = 12) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.mixing, self.n_tokens, self.runs = mixing, n_tokens, 0
        self.embedding = nn.Embedding(N_IDS, WIDTH)
        self.queries = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(2))
        self.gates = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))
        self.head = nn.Linear(WIDTH, N_IDS, bias=False)
        self.double()
        self.ids = torch.randint(N_IDS, (64,), generator=torch.Generator().manual_seed(4))

    def forward(self, positions: Tensor, shift: Tensor | float = 0.0) -> Tensor:
        self.runs += 1
        hidden = self.embedding(self.ids[None, : PROMPT + self.n_tokens]) + shift
        for queries, gate in zip(self.queries, self.gates, strict=True):
            parts = queries(hidden).view(1, -1, 2, 12).transpose(1, 2).chunk(3, -1)
            mixed = self.mixing(*parts).transpose(1, 2).reshape(1, -1, WIDTH)
            hidden = hidden + F.silu(gate(hidden)) * mixed
        return self.head(hidden[:, PROMPT + positions].squeeze(0))

    def response(self) -> ProbedResponse:
        """Return its response; the text view differs by a number added to embeddings."""
        at = torch.arange(self.n_tokens)
        with torch.no_grad():
            views = self(at, 0.5), self(at)
        teacher = (view + normal(*view.shape, seed=seed) for seed, view in enumerate(views))
        cots = cotangents(FourViews(*views, *teacher))
        return ProbedResponse(lambda at: self(at, 0.5), self, cots, at)

    def engine(self, said: list[str], **options: object) -> Gramian:
        return Gramian(self, {"all": list(self.parameters())}, say=said.append, **options)

    def error(self, engine: Gramian, weights: Tensor | None = None) -> float:
        """Return how far the engine is from autograd that runs all units as one."""
        weights = torch.eye(self.n_tokens, dtype=torch.float64) if weights is None else weights
        response = self.response()
        expected = self.engine([], way="autograd").units(response, weights)["all"]
        return worst(tensor(engine.units(response, weights)["all"]), tensor(expected))


def assert_fell_back(engine: Gramian, said: list[str]) -> None:
    assert len(said) == 1 and said[0].startswith("measured by autograd, slower: the walk")
    assert engine.way is engine.autograd


@pytest.mark.parametrize("mixing", [causal, first_blind])
def test_a_causal_model_is_measured_by_the_walk(mixing: Mixing) -> None:
    said: list[str] = []
    student = Student(mixing)
    engine = student.engine(said)
    assert student.error(engine) < 1e-10
    assert not said and engine.way is engine.walk


def doubled(rule: rules.Rule) -> rules.Rule:
    """Return a rule that is wrong by a thousandth."""

    def wrong(node: rules.Node, arrived: rules.Cotangents) -> rules.Cotangents:
        return [None if each is None else each.with_(each.values * 1.001) for each in rule(node, arrived)]

    return wrong


@pytest.mark.parametrize("name", ["SiluBackward0", "SplitBackward0", "AddmmBackward0", "ScaledDotProduct"])
def test_a_rule_that_is_wrong_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule_of = walk.rule_of
    monkeypatch.setattr(walk, "joined", lambda nodes, kept: {})  # each node by its own rule
    monkeypatch.setattr(
        walk, "rule_of", lambda node: doubled(rule_of(node)) if node.startswith(name) else rule_of(node)
    )
    said: list[str] = []
    student = Student()
    engine = student.engine(said)
    assert student.error(engine) < 1e-10
    assert_fell_back(engine, said)
    assert student.error(engine) < 1e-10
    assert len(said) == 1


def test_a_rule_that_is_wrong_is_found_in_a_later_response(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as long, so it is checked again."""
    said: list[str] = []
    student = Student(n_tokens=4)
    engine = student.engine(said)
    assert student.error(engine) < 1e-10
    plain = walk.rule_of
    monkeypatch.setattr(walk, "joined", lambda nodes, kept: {})
    monkeypatch.setattr(walk, "rule_of", lambda name: doubled(plain(name)) if "Silu" in name else plain(name))
    student.n_tokens = 8
    assert student.error(engine) < 1e-10
    assert_fell_back(engine, said)


def test_runs_are_counted() -> None:
    """A check runs either view once by each way; the first one also to learn for autograd."""
    said: list[str] = []
    student = Student(n_tokens=4)
    engine = student.engine(said, chunk=99)
    counts = []
    for student.n_tokens in (4, 4, 7, 8, 15, 16, 2):
        response, before = student.response(), student.runs
        engine.units(response, torch.eye(student.n_tokens, dtype=torch.float64))
        counts.append(student.runs - before - 2)
    assert counts == [6, 0, 0, 4, 0, 4, 0]


@pytest.mark.parametrize("mixing", [both_ways, ahead])
@pytest.mark.parametrize(("n_tokens", "chunk"), [(2, None), (6, 3), (6, 1), (12, None), (12, 5)])
def test_what_is_not_causal_is_found(mixing: Mixing, n_tokens: int, chunk: int | None) -> None:
    """Also where all units would fit into one block, so that no row is left out."""
    said: list[str] = []
    student = Student(mixing, n_tokens)
    engine = student.engine(said, chunk=chunk)
    assert student.error(engine) < 1e-10
    assert_fell_back(engine, said)


def test_what_is_not_causal_is_found_by_units_that_end_alike() -> None:
    """They reach to the last token; tokens of a later call do not, and are not checked again."""
    said: list[str] = []
    student = Student(both_ways)
    engine = student.engine(said)
    assert student.error(engine, torch.ones(1, 12, dtype=torch.float64)) < 1e-10
    assert student.error(engine) < 1e-10
    assert_fell_back(engine, said)


def test_the_first_response_with_a_picture_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its view of the picture has nodes that no response without one has."""
    plain = walk.rule_of
    monkeypatch.setattr(walk, "joined", lambda nodes, kept: {})
    monkeypatch.setattr(walk, "rule_of", lambda name: doubled(plain(name)) if "Cos" in name else plain(name))
    said: list[str] = []
    student = Student()
    engine, weights = student.engine(said), torch.eye(12, dtype=torch.float64)
    pictured = student.response()
    engine.units(replace(pictured, image_logits=pictured.text_logits), weights)
    assert not said
    pictured = replace(pictured, image_logits=lambda at: student(at, student.embedding.weight[0].cos()))
    grams = engine.units(pictured, weights)["all"]
    assert_fell_back(engine, said)
    expected = student.engine([], way="autograd").units(pictured, weights)["all"]
    assert worst(tensor(grams), tensor(expected)) < 1e-10
