"""The language loss of a text view alone, by chunks."""

from dataclasses import replace

import pytest
import torch

from geometry import (
    HiddenViews,
    LMHead,
    Objective,
    TextView,
    language_from_hidden,
    log_probs,
    objective_loss_from_hidden,
)
from tests.geometry.problems import normal

N_TOKENS, N_IDS = 7, 11


def views() -> tuple[TextView, HiddenViews]:
    student = TextView(normal(N_TOKENS, 4, seed=0), LMHead(normal(N_IDS, 4, seed=1), masked=(3,)))
    head = LMHead(normal(N_IDS, 5, seed=2), masked=(3,))
    return student, HiddenViews(normal(N_TOKENS, 5, seed=3), normal(N_TOKENS, 5, seed=4), head)


@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_is_the_plain_divergence(chunk: int | None) -> None:
    student, teacher = views()
    own, text = log_probs(student.logits(slice(None))), log_probs(teacher.head.logits(teacher.text))
    drawn = own > -torch.inf
    slow = [
        sum(float(a.exp() * (a - b)) for a, b in zip(p[kept], q[kept], strict=True))
        for p, q, kept in zip(own, text, drawn, strict=True)
    ]
    assert language_from_hidden(student, teacher, chunk=chunk).tolist() == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize("top_k", [None, 3])
def test_is_that_of_the_loss(top_k: int | None) -> None:
    """Of a student whose text view it is, over the ids that the loss takes."""
    student, teacher = views()
    both = HiddenViews(normal(N_TOKENS, 4, seed=5), student.hidden, student.head)
    shares = torch.full((N_TOKENS,), 1.0 / N_TOKENS, dtype=torch.float64)
    parts = objective_loss_from_hidden(both, teacher, Objective("standard"), shares=shares, top_k=top_k).parts
    assert torch.equal(language_from_hidden(student, teacher, top_k=top_k), parts.language)


def test_takes_no_gradient() -> None:
    student, teacher = views()
    with_graph = replace(student, hidden=student.hidden.requires_grad_())
    assert not language_from_hidden(with_graph, teacher).requires_grad


def test_refuses_other_tokens_and_ids() -> None:
    student, teacher = views()
    with pytest.raises(ValueError, match="hidden"):
        language_from_hidden(student[:3], teacher)
    with pytest.raises(ValueError, match="`student` must have the ids of `teacher`, got 10 and 11"):
        language_from_hidden(replace(student, head=replace(student.head, n_ids=10)), teacher)
