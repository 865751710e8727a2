"""Rewards to gradients: the whole step against slow twins, several updates, top-p, and the norm-matched control."""

import math
from copy import deepcopy
from dataclasses import replace
from zlib import crc32

import pytest
import torch

from cli.errors import OptionError
from geometry import FourViews, LMHead, grpo_loss, objective_loss, token_shares
from records.journal import read_journal
from tests.train.small import batch, both_logits, learner, small, watch, weights
from train.batch import batches_of_step, joined
from train.grpo import log_probs_and_old, losses, sampled
from train.loop import train
from train.outcome import together
from train.prompts import prompt_source, step_seed
from train.step import summed_gradient, update
from vlm.responses.response import both_views, has_image
from vlm.responses.rollouts import nucleus

MIXES = ("grpo", "grpo+standard", "grpo+vgs-lp")


@pytest.fixture
def _rewarded(monkeypatch):
    """Half of all responses are right, whatever was asked: a random student never is."""
    monkeypatch.setattr("train.batch.is_correct_any", lambda text, answers: crc32(text.encode()) % 2 == 0)


rewarded = pytest.mark.usefixtures("_rewarded")


def grpo(checkpoints, **changes):
    """The flags of a small run with rewards: 4 prompts, 3 responses each."""
    return small(checkpoints, **{"objective": "grpo", "batch": 4, "rollouts_per_prompt": 3} | changes)


def gradient_of(checkpoints, **changes):
    found = learner(grpo(checkpoints, **changes))
    gradient, loss, eta, _ = summed_gradient(found, batch(found), watch())
    return torch.cat([g.flatten() for g in gradient]), loss, eta


def step_batches(found):
    config = found.config
    return batches_of_step(found, prompt_source(config).at(0), step_seed(config.seed, 0), watch())


def relative(a, b):
    return float((a - b).norm() / b.norm())


def log_probs_of(loaded, response, n_ids, top_p=1.0, among=None):
    """The log-probabilities of a response's tokens, one response alone, and the ids that it was drawn from."""
    logits, ids = both_logits(loaded, [response], n_ids)[0], torch.tensor(response.rollout.token_ids)
    probabilities = logits.detach().softmax(dim=-1)
    if among is None:
        among = torch.zeros_like(probabilities, dtype=torch.bool)
        for row, each in enumerate(probabilities):  # the slow twin of the nucleus
            total = 0.0
            for index in each.argsort(descending=True, stable=True):
                if total >= top_p:
                    break
                among[row, index] = each[index] > 0
                total += float(each[index])
    kept = torch.where(among, logits, torch.full_like(logits, -torch.inf))
    return kept.log_softmax(dim=-1)[torch.arange(len(ids)), ids], among


def advantages_of(responses, rewards):
    """From the definition, a response at a time."""
    found = []
    for response, own in zip(responses, rewards, strict=True):
        group = [r for r, o in zip(rewards, responses, strict=True) if o.prompt.prompt_id == response.prompt.prompt_id]
        mean = sum(group) / len(group)
        spread = math.sqrt(sum((r - mean) ** 2 for r in group) / (len(group) - 1))
        found.append((own - mean) / spread if spread else 0.0)
    return found


def twin(found, made, alpha, before=None):
    """The loss of an update, one response at a time.

    before: the model that sampled; the present one by default.
    """
    pair, config, responses = found.pair, found.config, made.responses
    rewards = [float(crc32(r.rollout.text.encode()) % 2 == 0) for r in responses]
    lengths = [r.n_tokens for r in responses]
    shares = token_shares(lengths).float().split(lengths)
    total = torch.zeros(())
    for r, share, advantage in zip(responses, shares, advantages_of(responses, rewards), strict=True):
        with torch.no_grad():
            old, among = log_probs_of(before or pair.student, r, pair.n_ids, config.top_p)
        new, _ = log_probs_of(pair.student, r, pair.n_ids, among=among)
        ratio = (new - old).exp()
        surrogate = (share * torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)).sum()
        views = [*both_logits(pair.student, [r], pair.n_ids), *both_logits(pair.teacher, [r], pair.n_ids)]
        about = {"thresholds": made.thresholds[0], "shares": share, "has_image": has_image([r], share.device)}
        total = total - (1 - alpha) * surrogate
        total = total + alpha * objective_loss(FourViews(*views), config.training_objective, **about).loss
    gradient = torch.autograd.grad(total, found.parameters, allow_unused=True)
    pairs = zip(found.parameters, gradient, strict=True)
    return total.item(), torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs])


@rewarded
@pytest.mark.parametrize(("objective", "alpha"), [("grpo", 0.0), ("grpo+standard", 0.3), ("grpo+vgs-lp", 0.3)])
def test_a_step_is_its_slow_twin(checkpoints, objective, alpha):
    found = learner(grpo(checkpoints, objective=objective))
    made = batch(found)
    loss, slow = twin(found, made, alpha)
    gradient, value, eta, _ = summed_gradient(found, made, watch())
    assert slow.norm() > 0.01 and eta == 1.0
    assert relative(torch.cat([g.flatten() for g in gradient]), slow) < 1e-5
    assert value == pytest.approx(loss, rel=1e-5, abs=1e-6)


@rewarded
@pytest.mark.parametrize("changes", [{"objective": "grpo+vgs-lp"}, {"objective": "grpo+standard", "match_norm": True}])
@pytest.mark.parametrize("size", [1, 5])
def test_micro_batches_change_nothing(checkpoints, changes, size):
    """Also such as cut through the responses of a prompt."""
    whole, loss, eta = gradient_of(checkpoints, **changes, micro_batch=12)
    parts, its_loss, its_eta = gradient_of(checkpoints, **changes, micro_batch=size)
    assert relative(parts, whole) < 1e-5
    assert (its_loss, its_eta) == (pytest.approx(loss, rel=1e-5), pytest.approx(eta, rel=1e-5))


def test_without_a_difference_in_reward_nothing_is_learnt(checkpoints):
    """No response of a random student is right: a gradient of 0 is no failure."""
    found = learner(grpo(checkpoints, weight_decay=0.0))
    made, before = batch(found), weights(found)
    outcome = update(found, made, watch())
    assert made.reward == 0.0
    assert (outcome.skipped, outcome.gradient_norm, outcome.loss) == (False, 0.0, 0.0)
    assert torch.equal(weights(found), before)
    assert outcome.tokens is not None and outcome.tokens.standard.mean() > 0


@rewarded
@pytest.mark.parametrize("name", ["standard", "vgs-lp"])
@pytest.mark.parametrize("alpha", [0.3, 0.8])
def test_the_mix_is_the_sum_of_its_gradients(checkpoints, name, alpha):
    reward, its_loss, _ = gradient_of(checkpoints)
    distilled, other_loss, _ = gradient_of(checkpoints, objective=name, eta="none")
    found, loss, _ = gradient_of(checkpoints, objective=f"grpo+{name}", alpha=alpha)
    assert relative(found, (1 - alpha) * reward + alpha * distilled) < 1e-5
    assert loss == pytest.approx((1 - alpha) * its_loss + alpha * other_loss, rel=1e-5)


@rewarded
def test_the_control_hears_as_much_of_the_teacher(checkpoints):
    reward, its_loss, _ = gradient_of(checkpoints)
    standard, other_loss, _ = gradient_of(checkpoints, objective="standard")
    steered, _, _ = gradient_of(checkpoints, objective="vgs-lp", eta="none", gamma=3.0)
    changes = {"objective": "grpo+standard", "match_norm": True, "alpha": 0.4, "gamma": 3.0}
    found, loss, eta = gradient_of(checkpoints, **changes)
    assert eta == pytest.approx(float(steered.norm() / standard.norm()), rel=1e-5) and eta > 1.5
    assert relative(found, 0.6 * reward + 0.4 * eta * standard) < 1e-5
    assert float((found - 0.6 * reward).norm()) == pytest.approx(0.4 * float(steered.norm()), rel=1e-4)
    assert loss == pytest.approx(0.6 * its_loss + 0.4 * eta * other_loss, rel=1e-5)


@rewarded
def test_prompts_are_dealt_whole_to_the_updates(checkpoints):
    found = learner(grpo(checkpoints, updates=2, batch=6))
    batches = step_batches(found)
    ids = [{r.prompt.prompt_id for r in made.responses} for made in batches]
    assert [len(each) for each in ids] == [3, 3] and not ids[0] & ids[1]
    assert all(len(made.responses) == 9 for made in batches)
    assert float(sum(shares.sum() for shares in batches[0].shares)) == pytest.approx(1.0)
    whole = batch(learner(grpo(checkpoints, batch=6)))
    texts = {r.rollout.rollout_id: r.rollout.token_ids for r in whole.responses}
    assert {r.rollout.rollout_id: r.rollout.token_ids for made in batches for r in made.responses} == texts
    together_ = joined(batches)
    assert len(together_.responses) == len(together_.lengths) == 18
    assert together_.reward == pytest.approx(whole.reward)


@rewarded
@pytest.mark.parametrize(("objective", "alpha", "top_p"), [("grpo", 0.0, 0.7), ("grpo+vgs-lp", 0.3, 1.0)])
def test_later_updates_compare_with_the_weights_that_sampled(checkpoints, objective, alpha, top_p):
    found = learner(grpo(checkpoints, objective=objective, updates=2, top_p=top_p, lr=3e-3))
    first, second = step_batches(found)
    before = deepcopy(found.pair.student)
    loss, slow = twin(found, first, alpha)
    outcome = update(found, first, watch())
    assert outcome.loss == pytest.approx(loss, rel=1e-5, abs=1e-6)
    loss, slow = twin(found, second, alpha, before)
    gradient, value, _, _ = summed_gradient(found, second, watch())
    found_gradient = torch.cat([g.flatten() for g in gradient])
    assert relative(found_gradient, slow) < 1e-4
    assert value == pytest.approx(loss, rel=1e-4, abs=1e-6)
    at_ratio_one = summed_gradient(found, replace(second, sampled=None), watch()).gradient
    assert relative(found_gradient, torch.cat([g.flatten() for g in at_ratio_one])) > 0.02


@rewarded
def test_the_first_of_several_updates_has_ratio_one(checkpoints):
    found = learner(grpo(checkpoints, updates=2, top_p=0.8))
    first, _ = step_batches(found)
    assert first.sampled is not None
    for part, old in zip(first.micro_batches, first.sampled, strict=True):
        views = both_views(found.pair.student, part, found.pair.n_ids)
        ids = torch.tensor([token for r in part for token in r.rollout.token_ids])
        new, _ = log_probs_and_old(views.image, views.head, ids, old, 0.8)
        torch.testing.assert_close(new, old.log_probs, rtol=1e-5, atol=1e-6)


@rewarded
@pytest.mark.parametrize("top_p", [0.5, 0.9])
def test_a_ratio_below_top_p_1_is_over_the_nucleus(checkpoints, top_p):
    """Tokens are drawn from it, and the gradient is that of the probabilities in it."""
    found = learner(grpo(checkpoints, top_p=top_p))
    made = batch(found)
    for response in made.responses:
        log_p, among = log_probs_of(found.pair.student, response, found.pair.n_ids, top_p)
        assert log_p.isfinite().all() and among.sum(dim=-1).max() < found.pair.n_ids - 4
    loss, slow = twin(found, made, 0.0)
    gradient, value, _, _ = summed_gradient(found, made, watch())
    assert relative(torch.cat([g.flatten() for g in gradient]), slow) < 1e-5
    assert value == pytest.approx(loss, abs=1e-6)


def test_what_the_sampler_says_is_kept_by_its_ids(generator):
    hidden, head = 3 * torch.randn(6, 50, generator=generator), LMHead(torch.eye(50), masked=(7,))
    logits = hidden.masked_fill(torch.arange(50) == 7, -torch.inf)
    ids = torch.randint(8, 50, (6,), generator=generator)
    about = sampled(hidden, head, ids, 0.8)
    expected = nucleus(logits.softmax(dim=-1), 0.8)
    expected[torch.arange(6), ids] = True
    assert torch.equal(about.mask(logits.shape), expected) and not expected[:, 7].any()
    p = logits.softmax(dim=-1) * expected
    torch.testing.assert_close(about.log_probs.exp(), p[torch.arange(6), ids] / p.sum(dim=-1))
    everything = sampled(hidden, head, ids, 1.0)
    assert everything.mask(logits.shape) is None
    torch.testing.assert_close(everything.log_probs.exp(), logits.softmax(dim=-1)[torch.arange(6), ids])


def test_grpo_alone_has_no_distillation_in_its_graph(checkpoints):
    reward = grpo_loss(*torch.zeros(4, 3)).loss
    assert losses(grpo(checkpoints), reward, [torch.tensor(torch.nan)]) == [reward]


def test_updates_of_a_step_are_told_as_one(checkpoints):
    found = learner(grpo(checkpoints, objective="grpo+standard"))
    made = batch(found)
    outcomes = [update(found, made, watch()) for _ in range(2)]
    both = together(outcomes)
    for name in ("loss", "gradient_norm", "eta"):
        assert getattr(both, name) == pytest.approx(sum(getattr(o, name) for o in outcomes) / 2)
    assert len(both.tokens.vds) == 2 * len(outcomes[0].tokens.vds) and not both.skipped
    with torch.no_grad():
        found.parameters[-1].fill_(torch.nan)
    assert together([outcomes[0], update(found, made, watch())]).skipped


@rewarded
@pytest.mark.parametrize("objective", MIXES)
def test_a_whole_run_has_a_line_a_step(checkpoints, tmp_path, objective):
    config = grpo(checkpoints, objective=objective, updates=2, steps=2, out=str(tmp_path / "run"))
    journal = read_journal(train(config))
    assert [line.step for line in journal.steps] == [0, 1]
    for line in journal.steps:
        assert 0.0 < line.reward < 1.0 and line.gradient_norm > 0 and line.eta == 1.0 and not line.skipped
        assert line.losses["standard"] > 0 and sum(line.tokens_by_fixed_bin) > 0


def test_a_reward_needs_answers(checkpoints, tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text("".join(f'{{"problem": "{n} ?", "answer": "{n if n < 9 else ""}"}}\n' for n in range(10)))
    with pytest.raises(OptionError, match="`prompts` must have answers for 'grpo', but 1 have none, the first '9'"):
        prompt_source(grpo(checkpoints, prompts=str(path)))
    assert len(prompt_source(small(checkpoints, prompts=str(path))).pool) == 6
