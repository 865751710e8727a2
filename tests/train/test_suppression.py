"""Suppression of improbable tokens without a teacher."""

import pytest
import torch

from geometry import LMHead
from records.journal import read_journal
from tests.geometry.problems import normal
from tests.train.small import batch, both_logits, learner, small, watch
from train.batch import padded
from train.grpo import token_ids
from train.loop import train
from train.step import summed_gradient
from train.suppression import log_probs_and_entropies, suppression_loss, weights

SUPPRESSION = {"objective": "suppression", "geometry_every": 0}


def slow_weights(log_p: list[float], entropy: list[float]) -> list[float]:
    """From the definition, token by token."""
    lowest = sorted(log_p)[: max(len(log_p) // 5, 1)]
    chosen = [value <= lowest[-1] for value in log_p]
    of_chosen = [h for h, is_in in zip(entropy, chosen, strict=True) if is_in]
    low, high = min(of_chosen), max(of_chosen)
    strength = [1.0 if high == low else 0.5 + 0.5 * (h - low) / (high - low) for h in entropy]
    return [a / len(of_chosen) if is_in else 0.0 for a, is_in in zip(strength, chosen, strict=True)]


@pytest.mark.parametrize("n", [1, 4, 5, 37])
def test_weights_are_their_slow_twin(n):
    scores = torch.stack([-normal(n, seed=1).abs(), normal(n, seed=2).abs()], dim=1)
    assert weights(scores, scores).tolist() == pytest.approx(slow_weights(*scores.T.tolist()))
    tied = torch.tensor([[-3.0, 0.5]] * 4 + [[-1.0, 2.0]])
    assert weights(tied, tied).tolist() == [0.25] * 4 + [0.0]  # equally improbable, equally uncertain


def test_each_process_has_its_part_of_the_weights():
    scores = torch.stack([-normal(20, seed=3).abs(), normal(20, seed=4).abs()], dim=1)
    whole = weights(scores, scores)
    assert torch.equal(torch.cat([weights(part, scores) for part in scores.split(8)]), whole)
    assert 0.5 <= float(whole.sum()) <= 1.0


def test_the_gradient_is_that_of_autograd():
    hidden, weight = normal(6, 4, seed=5).requires_grad_(), normal(9, 4, seed=6).requires_grad_()
    ids, of_tokens = torch.tensor([0, 3, 8, 2, 2, 7]), normal(6, seed=7).abs()
    head = LMHead(weight, n_ids=9, masked=(5,), scale=0.5, softcap=3.0)
    logits = (3.0 * torch.tanh(0.5 * hidden @ weight.T / 3.0)).index_fill(1, torch.tensor([5]), -torch.inf)
    log_p = logits.log_softmax(-1)
    plain = (of_tokens * log_p[range(6), ids]).sum()
    found = suppression_loss(hidden, head, ids, of_tokens)
    torch.testing.assert_close(found, plain, rtol=0.0, atol=1e-12)
    for ours, theirs in zip(*(torch.autograd.grad(loss, (hidden, weight)) for loss in (found, plain)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.0, atol=1e-12)
    scores = log_probs_and_entropies(hidden, head, ids)
    kept = log_p.detach()[:, [0, 1, 2, 3, 4, 6, 7, 8]]
    torch.testing.assert_close(scores[:, 0], log_p.detach()[range(6), ids])
    torch.testing.assert_close(scores[:, 1], -(kept.exp() * kept).sum(-1))


def slow_loss(one, responses) -> torch.Tensor:
    """From whole logits of one response at a time; a graph of the image view alone."""
    image = torch.cat([both_logits(one.pair.student, [r], one.pair.n_ids)[0] for r in responses])
    log_p = image.log_softmax(-1)
    drawn = log_p.gather(1, token_ids(responses, log_p.device)[:, None])[:, 0]
    entropy = torch.special.entr(log_p.exp()).sum(-1)
    return (torch.tensor(slow_weights(drawn.tolist(), entropy.tolist())) * drawn).sum()


@pytest.mark.parametrize("size", [6, 2])
def test_a_step_is_its_slow_twin_however_it_is_cut(checkpoints, size):
    one = learner(small(checkpoints, micro_batch=size, **SUPPRESSION))
    made = batch(one)
    loss = slow_loss(one, made.responses)
    slow = torch.cat([g.flatten() for g in torch.autograd.grad(loss, one.parameters)])
    found = summed_gradient(one, made, watch())
    gradient = torch.cat([g.flatten() for g in found.gradient])
    assert float((gradient - slow).norm()) < 1e-4 * float(slow.norm()) and float(slow.norm()) > 1e-3
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-4)


def test_a_micro_batch_that_is_repeated_adds_nothing(checkpoints):
    """As in a process with shards that has fewer of them than another."""
    one = learner(small(checkpoints, micro_batch=2, **SUPPRESSION))
    made = batch(one)
    longer = padded(made, len(made.micro_batches) + 1)
    assert len(longer.suppressed) == 4 and not longer.suppressed[-1].any()
    found, expected = (summed_gradient(one, each, watch()) for each in (longer, made))
    assert all(torch.equal(a, b) for a, b in zip(found.gradient, expected.gradient, strict=True))


def test_the_suppressed_tokens_become_less_probable(checkpoints):
    one = learner(small(checkpoints, **SUPPRESSION))
    made = batch(one)
    before = summed_gradient(one, made, watch())
    with torch.no_grad():
        for parameter, gradient in zip(one.parameters, before.gradient, strict=True):
            parameter -= 0.01 * gradient
    assert summed_gradient(one, made, watch()).loss < before.loss - 1e-5


def test_the_teacher_is_in_the_journal_alone(checkpoints, tmp_path):
    run = train(small(checkpoints, out=str(tmp_path / "run"), steps=2, evaluate_every=0, **SUPPRESSION))
    for line in read_journal(run).steps:
        assert line.loss < 0.0 < line.losses["standard"] and line.gradient_norm > 0.0 and not line.skipped
    one, other = (learner(small(checkpoints, **SUPPRESSION)) for _ in range(2))
    with torch.no_grad():
        next(iter(other.pair.teacher.model.parameters())).mul_(2.0)
    ours, theirs = (summed_gradient(each, batch(each), watch()) for each in (one, other))
    assert all(torch.equal(a, b) for a, b in zip(ours.gradient, theirs.gradient, strict=True))
    assert not torch.equal(ours.tokens.standard, theirs.tokens.standard)
