"""Advantages and the clipped surrogate of Eq. 22: by hand, against a slow twin, and what must not matter."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from geometry import group_advantages, grpo_loss, token_shares
from geometry.grpo_loss import mixed
from tests.geometry.problems import normal

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def vector(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def problem(seed=0, spread=0.3):
    """Log-probabilities, new and old, advantages and shares of three responses of 3, 1 and 4 tokens."""
    lengths = [3, 1, 4]
    old = -normal(8, seed=seed).abs()
    new = (old + spread * normal(8, seed=seed + 100)).requires_grad_()
    advantages = vector(0.8, -1.2, 0.4).repeat_interleave(torch.tensor(lengths))
    return new, old, advantages, token_shares(lengths)


def twin(new, old, advantages, shares, clip):
    """The surrogate as it is written, token by token."""
    total = torch.zeros((), dtype=torch.float64)
    for n, o, a, share in zip(new, old, advantages, shares, strict=True):
        ratio = (n - o).exp()
        total = total + share * torch.minimum(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a)
    return total


def test_advantages_by_hand():
    rewards = vector(1, 0, 0, 1, 1, 1, 0, 0).view(2, 4)
    half = 0.5 / math.sqrt(4 * 0.25 / 3)
    expected = half * torch.tensor([[1.0, -1, -1, 1], [1, 1, -1, -1]], dtype=torch.float64)
    torch.testing.assert_close(group_advantages(rewards), expected, **EXACT)
    torch.testing.assert_close(group_advantages(vector(3, 1)), vector(1, -1) / math.sqrt(2), **EXACT)


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, 0.7])
def test_equal_rewards_have_no_advantage(reward):
    """Also where their mean rounds to something else."""
    found = group_advantages(torch.tensor([[reward] * 3, [0.0, 1.0, 0.0]], dtype=torch.float64))
    assert found[0].tolist() == [0.0] * 3 and found[1].abs().min() > 0.5


REWARDS = st.lists(st.integers(-20, 20), min_size=2, max_size=8)


@given(REWARDS, st.floats(-10, 10), st.floats(0.01, 100))
def test_advantages_know_neither_zero_nor_unit_of_the_rewards(rewards, shift, scale):
    assume(len(set(rewards)) > 1)
    rewards = vector(*rewards)
    found = group_advantages(rewards)
    torch.testing.assert_close(group_advantages(scale * rewards + shift), found, rtol=1e-9, atol=1e-9)
    assert abs(float(found.mean())) < 1e-12
    assert float(found.square().sum()) == pytest.approx(len(rewards) - 1)


@given(REWARDS, st.randoms(use_true_random=False))
def test_advantages_follow_their_responses(rewards, random):
    order = list(range(len(rewards)))
    random.shuffle(order)
    rewards = vector(*rewards)
    torch.testing.assert_close(group_advantages(rewards[order]), group_advantages(rewards)[order], **EXACT)


def test_the_surrogate_by_hand():
    """Ratios 1.5, 1.5, 0.5, 0.5, 1.1 at clip 0.2: the clip acts only on the side that the advantage pushes to."""
    ratios, advantages = vector(1.5, 1.5, 0.5, 0.5, 1.1), vector(1, -1, 1, -1, 2)
    found = grpo_loss(ratios.log(), torch.zeros(5), advantages, torch.full((5,), 0.1))
    assert found.loss.item() == pytest.approx(-0.1 * (1.2 - 1.5 + 0.5 - 0.8 + 2.2))
    assert found.clipped.tolist() == [True, False, False, True, False]
    torch.testing.assert_close(found.ratios, ratios, **EXACT)


@pytest.mark.parametrize("clip", [0.0, 0.2, 0.5])
def test_it_is_the_slow_twin(clip):
    for seed in range(5):
        new, old, advantages, shares = problem(seed)
        found = grpo_loss(new, old, advantages, shares, clip=clip)
        slow = twin(new, old, advantages, shares, clip)
        torch.testing.assert_close(found.loss, -slow, **EXACT)
        torch.testing.assert_close(*(torch.autograd.grad(x, new)[0] for x in (found.loss, -slow)), **EXACT)


def test_its_gradient_is_the_closed_form():
    """-A ratio d log p at the tokens that are not clipped; the weights are two steps from the log-probabilities."""
    weights = normal(8, 5, seed=3).requires_grad_()
    new = weights.log_softmax(dim=1)[:, 2]
    _, _, advantages, shares = problem()
    old = (new - 0.3 * normal(8, seed=9)).detach()
    found = grpo_loss(new, old, advantages, shares)
    assert 0 < int(found.clipped.sum()) < 8
    closed = torch.zeros_like(weights)
    for t in range(8):
        if not found.clipped[t]:
            (step,) = torch.autograd.grad(new[t], weights, retain_graph=True)
            closed -= shares[t] * advantages[t] * (new[t] - old[t]).exp().detach() * step
    torch.testing.assert_close(torch.autograd.grad(found.loss, weights)[0], closed, **EXACT)


@given(st.integers(0, 1000), st.floats(0.0, 0.9))
def test_at_ratio_one_it_is_the_policy_gradient(seed, clip):
    new, _, advantages, shares = problem(seed)
    found = grpo_loss(new, new.detach(), advantages, shares, clip=clip)
    assert found.loss.item() == pytest.approx(-float((shares * advantages).sum()))
    assert torch.equal(torch.autograd.grad(found.loss, new)[0], -shares * advantages)


@given(st.integers(0, 1000))
def test_the_order_of_the_tokens_does_not_matter(seed):
    new, old, advantages, shares = problem(seed)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
    found, other = (grpo_loss(new[i], old[i], advantages[i], shares[i]).loss for i in (torch.arange(8), order))
    torch.testing.assert_close(other, found, **EXACT)


def test_nothing_goes_through_the_old_weights():
    new, old, advantages, shares = problem()
    old = old.requires_grad_()
    (gradient,) = torch.autograd.grad(grpo_loss(new, old, advantages, shares).loss, old, allow_unused=True)
    assert gradient is None


def test_a_ratio_that_overflows_is_clipped_and_no_advantage_is_none():
    """In float32 exp(100) is inf; 0 * inf would be nan."""
    new = torch.tensor([0.0, 0.0, -1.0], requires_grad=True)
    old = torch.tensor([-100.0, -100.0, -1.0])
    found = grpo_loss(new, old, torch.tensor([1.0, 0.0, 1.0]), torch.ones(3))
    assert found.loss.item() == pytest.approx(-2.2)
    assert torch.autograd.grad(found.loss, new)[0].tolist() == [0.0, 0.0, -1.0]


def test_the_mix_is_that_of_eq_22():
    surrogate, distillation = vector(2.0, 4.0), vector(10.0, 0.0)
    torch.testing.assert_close(mixed(surrogate, distillation, 0.3), vector(4.4, 2.8), **EXACT)
    assert torch.equal(mixed(surrogate, distillation, 0.0), surrogate)
    assert torch.equal(mixed(surrogate, distillation, 1.0), distillation)


def test_what_cannot_be_is_refused():
    new, old, advantages, shares = problem()
    for call, named in (
        (lambda: group_advantages(vector(1)), "`rewards` must hold at least 2"),
        (lambda: group_advantages(vector(1, math.nan)), "`rewards` must be finite, got nan"),
        (lambda: grpo_loss(new, old, advantages, shares, clip=1.0), r"`clip` must lie in \[0, 1\), got 1.0"),
        (lambda: grpo_loss(new, old, advantages, shares, clip=math.nan), "`clip`"),
        (lambda: mixed(new, old, 1.5), r"`alpha` must lie in \[0, 1\], got 1.5"),
    ):
        with pytest.raises(ValueError, match=named):
            call()
