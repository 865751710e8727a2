"""The visual target with another student's prior in it: the loss and its gradients against autograd in float64."""

from dataclasses import fields, replace

import pytest
import torch

from geometry import (
    FourViews,
    HiddenViews,
    LMHead,
    Objective,
    TextView,
    Thresholds,
    coefficients,
    cotangents,
    decompose,
    log_probs,
    objective_loss,
    objective_loss_from_hidden,
    token_shares,
    visual_target,
)
from tests.geometry.problems import normal

EXACT = {"rtol": 0.0, "atol": 1e-10}
LENGTHS, N_IDS = (3, 5), 7
N_TOKENS = sum(LENGTHS)
EDGES, SHARES = Thresholds(low=0.3, high=0.9), token_shares(LENGTHS)
FROZEN = {
    "vgs": Objective("vgs", prior="frozen"),
    "vgs-lp": Objective("vgs-lp", prior="frozen", lambda_=0.5),
    "adaptive": Objective("adaptive", prior="frozen", lambda_=0.5),
    "language-steering": Objective("language-steering", prior="frozen", lambda_=0.5),
    "printed": Objective("language-steering", prior="frozen", lambda_=0.5, vp="printed"),
}
every = pytest.mark.parametrize("objective", FROZEN.values(), ids=FROZEN)


def views() -> FourViews:
    image, text, q_image, q_text, prior = (normal(N_TOKENS, N_IDS, seed=k) for k in range(5))
    return FourViews(image.requires_grad_(), text.requires_grad_(), q_image, q_text, prior)


def kl(log_a: torch.Tensor, log_b: torch.Tensor) -> torch.Tensor:
    return (log_a.exp() * (log_a - log_b)).sum(dim=-1)


def plain(four: FourViews, objective: Objective) -> torch.Tensor:
    """The loss, written out: the target is a constant made of the prior and the teacher."""
    p_image, p_text, q_image, q_text, prior = map(log_probs, four.each)
    target = torch.log_softmax(prior + q_image - q_text, dim=-1)
    terms = {
        "standard": kl(p_image, q_image),
        "language": kl(p_text, q_text),
        "visual": kl(p_image, target),
        "printed": kl(p_text, target),
    }
    weights = coefficients(objective, kl(q_image, q_text), EDGES).times(SHARES)
    return sum((getattr(weights, name) * term).sum() for name, term in terms.items())


@every
def test_the_loss_and_its_gradients_are_those_of_the_definition(objective: Objective) -> None:
    four = views()
    ours = objective_loss(four, objective, thresholds=EDGES, shares=SHARES)
    expected = plain(four, objective)
    torch.testing.assert_close(ours.loss, expected, **EXACT)
    sources = four.student_image, four.student_text
    for own, its in zip(
        *(torch.autograd.grad(x, sources, materialize_grads=True, allow_unused=True) for x in (ours.loss, expected)),
        strict=True,
    ):
        torch.testing.assert_close(own, its, **EXACT)
    torch.testing.assert_close(ours.parts.visual, decompose(four).visual.detach(), **EXACT)


@every
def test_hidden_states_with_another_head_give_the_same(objective: Objective) -> None:
    hidden = [normal(N_TOKENS, 4, seed=k) for k in range(5)]
    heads = [normal(N_IDS + 1, 4, seed=k) for k in (5, 6, 7)]
    head, teacher, first = (LMHead(weight, n_ids=N_IDS) for weight in heads)
    student = HiddenViews(hidden[0].requires_grad_(), hidden[1].requires_grad_(), head)
    prior = TextView(hidden[4], first)
    ours = objective_loss_from_hidden(
        student, HiddenViews(hidden[2], hidden[3], teacher), objective,
        thresholds=EDGES, shares=SHARES, prior=prior, chunk=3,
    )  # fmt: skip
    rows = slice(None)
    four = FourViews(*student.logits(rows), teacher.logits(hidden[2]), teacher.logits(hidden[3]), prior.logits(rows))
    expected = plain(four, objective)
    torch.testing.assert_close(ours.loss, expected, **EXACT)
    for own, its in zip(
        *(torch.autograd.grad(x, hidden[:2], materialize_grads=True, allow_unused=True) for x in (ours.loss, expected)),
        strict=True,
    ):
        torch.testing.assert_close(own, its, **EXACT)


@every
def test_the_own_prior_frozen_is_the_target_held_fixed(objective: Objective) -> None:
    four = views()
    held = objective_loss(
        replace(four, prior_text=None), replace(objective, prior="detached"), thresholds=EDGES, shares=SHARES
    )
    ours = objective_loss(
        replace(four, prior_text=four.student_text.detach()), objective, thresholds=EDGES, shares=SHARES
    )
    assert torch.equal(held.loss, ours.loss)
    sources = four.student_image, four.student_text
    both = (torch.autograd.grad(x.loss, sources, materialize_grads=True, allow_unused=True) for x in (held, ours))
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))


def test_standard_is_visual_plus_prior_and_nothing_shifts() -> None:
    four = views()
    five = cotangents(four)
    torch.testing.assert_close(five.standard, five.visual + five.prior, **EXACT)
    assert not five.shift.any()
    (at_image,) = torch.autograd.grad(decompose(four).visual.sum(), four.student_image)
    torch.testing.assert_close(five.visual, at_image, **EXACT)
    for field in fields(five):
        if field.name in ("standard", "language"):  # these do not depend on the target
            assert torch.equal(
                getattr(five, field.name), getattr(cotangents(replace(four, prior_text=None)), field.name)
            )


def test_a_blind_teacher_s_target_is_the_prior_bit_for_bit() -> None:
    four = views()
    blind = replace(four, teacher_text=four.teacher_image)
    assert four.prior_text is not None
    assert torch.equal(visual_target(blind), log_probs(four.prior_text))


def test_a_prior_is_given_where_it_is_read_and_nowhere_else() -> None:
    four, frozen = views(), FROZEN["vgs"]
    with pytest.raises(ValueError, match=r"`prior` must be given .* 'frozen', got None"):
        objective_loss(replace(four, prior_text=None), frozen, shares=SHARES)
    with pytest.raises(ValueError, match=r"`prior` must be left out for 'vgs' with prior 'detached'"):
        objective_loss(four, Objective("vgs"), shares=SHARES)
    assert not Objective("vgs", gamma=0.0, prior="frozen").needs_prior
    with pytest.raises(ValueError, match=r"`prior_text` must have the shape"):
        objective_loss(replace(four, prior_text=normal(N_TOKENS, N_IDS + 1, seed=9)), frozen, shares=SHARES)
