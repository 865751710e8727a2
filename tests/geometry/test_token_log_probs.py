"""Log-probabilities of drawn tokens from hidden states against whole logits by autograd."""

from typing import Any

import pytest
import torch
from torch import Tensor

from geometry import LMHead, token_log_probs_from_hidden
from tests.geometry.problems import normal
from tests.geometry.test_chunked_loss import Largest

EXACT = {"rtol": 0.0, "atol": 1e-12}
IDS = torch.tensor([0, 3, 8, 1, 3, 5])
SUPPORT, MASKED = 9, (2, 10)
EACH = normal(6, SUPPORT, seed=9) > 0.5
EACH[torch.arange(6), IDS] = True
ALLOWED = {"all": None, "of every token": torch.tensor([True] * 6 + [False] * 2 + [True]), "of each": EACH}
LIMITED = pytest.mark.parametrize("allowed", ALLOWED.values(), ids=ALLOWED)


class Problem:
    def __init__(self, *, bias: bool = True, dtype: torch.dtype = torch.float64, **end: float) -> None:
        self.hidden = normal(6, 4).to(dtype).requires_grad_()
        self.weight = normal(11, 4, seed=1).to(dtype).requires_grad_()
        self.bias = normal(11, seed=2).to(dtype).requires_grad_() if bias else None
        self.head = LMHead(self.weight, self.bias, n_ids=SUPPORT, masked=MASKED, **end)
        self.leaves = [self.hidden, self.weight, *([] if self.bias is None else [self.bias])]

    def plain(self, allowed: Tensor | None) -> Tensor:
        logits = self.hidden @ self.weight.T + (0.0 if self.bias is None else self.bias)
        logits = self.head.scale * logits
        if self.head.softcap is not None:
            logits = self.head.softcap * (logits / self.head.softcap).tanh()
        banned = torch.tensor([v in MASKED or v >= SUPPORT for v in range(11)]).expand(6, 11).clone()
        if allowed is not None:
            banned[:, :SUPPORT] |= ~allowed
        return logits.masked_fill(banned, -torch.inf).log_softmax(-1)[torch.arange(6), IDS]

    def found(self, allowed: Tensor | None, chunk: int | None = None) -> Tensor:
        return token_log_probs_from_hidden(self.hidden, self.head, IDS, allowed=allowed, chunk=chunk)

    def gradients(self, log_p: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((log_p.exp() * normal(6, seed=3).to(log_p)).sum(), self.leaves)


@LIMITED
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize("end", [{}, {"scale": 0.5, "softcap": 1.5}], ids=["plain", "capped"])
def test_equals_the_plain_way(allowed: Tensor | None, bias: bool, chunk: int | None, end: dict[str, float]) -> None:
    problem = Problem(bias=bias, **end)
    found, expected = problem.found(allowed, chunk), problem.plain(allowed)
    torch.testing.assert_close(found, expected, **EXACT)
    for got, want in zip(problem.gradients(found), problem.gradients(expected), strict=True):
        torch.testing.assert_close(got, want, **EXACT)


def test_a_frozen_head_gets_none() -> None:
    problem = Problem()
    want = problem.gradients(problem.plain(None))[0]
    problem.weight.requires_grad_(False)
    (problem.found(None, 2).exp() * normal(6, seed=3)).sum().backward()
    assert problem.weight.grad is None and problem.bias is not None and problem.bias.grad is not None
    torch.testing.assert_close(problem.hidden.grad, want, **EXACT)


def test_hidden_states_may_come_from_the_head() -> None:
    problem = Problem()

    def gradient(method: Any) -> Tensor:
        problem.hidden = problem.weight[:6].tanh()
        return torch.autograd.grad(method(None).sum(), problem.weight)[0]

    torch.testing.assert_close(gradient(problem.found), gradient(problem.plain), **EXACT)


def test_bfloat16() -> None:
    problem = Problem(dtype=torch.bfloat16)
    found, expected = problem.found(None, 2), problem.plain(None)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float(), rtol=2e-2, atol=2e-2)
    for got, want in zip(problem.gradients(found), problem.gradients(expected), strict=True):
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got, want, rtol=5e-2, atol=2e-2)


def test_holds_one_chunk() -> None:
    hidden, head = normal(60, 2).float().requires_grad_(), LMHead(normal(500, 2).float().requires_grad_())
    with Largest() as made:
        token_log_probs_from_hidden(hidden, head, torch.arange(60), chunk=4).sum().backward()
    assert made.n_bytes == 4 * 500 * 4


def test_no_tokens() -> None:
    problem = Problem()
    token_log_probs_from_hidden(problem.hidden[:0], problem.head, IDS[:0]).sum().backward()
    assert problem.weight.grad is not None and (problem.weight.grad == 0).all()


def test_refuses_what_does_not_fit() -> None:
    problem = Problem()

    def call(ids: Tensor, **options: Any) -> None:
        token_log_probs_from_hidden(problem.hidden, problem.head, ids, **options)

    with pytest.raises(ValueError, match=r"`ids` must be ids that could be drawn, got 2 at token 1, which is masked"):
        call(torch.tensor([0, 2, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match=r"`ids` must be ids that could be drawn, got 3 at token 1"):
        call(IDS, allowed=torch.tensor([True] * 3 + [False] + [True] * 5))
    with pytest.raises(ValueError, match=r"`ids` must lie in 0\.\.8, the ids of `head`, got 0\.\.9"):
        call(torch.tensor([0, 9, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match=r"`allowed` must have shape \(9,\) or \(6, 9\), got \(11,\)"):
        call(IDS, allowed=torch.ones(11, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"`chunk` must be at least 1 token, got 0"):
        call(IDS, chunk=0)
    with pytest.raises(ValueError, match=r"`ids` must have one number a token"):
        call(IDS[:3])
