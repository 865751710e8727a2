"""How on-policy responses are: the numbers by a slow twin, and the word for cases whose answer is known."""

import math
from dataclasses import replace

import pytest
import torch

from tests import models
from vlm.responses.on_policy import Agreement, agreement
from vlm.responses.rollouts import Sampling, generate
from vlm.responses.scoring import view_logits
from vlm.responses.stored_rollouts import Stored
from vlm.views.view import image_view

PROMPTS = models.scenes(40)


def views(rollouts):
    by_id = {prompt.prompt_id: image_view(prompt) for prompt in PROMPTS}
    return [by_id[rollout.prompt_id] for rollout in rollouts]


def stored(rollouts, stater=None, n_ids=0, shift=0.0):
    """The rollouts with the log-probabilities of a model, shifted."""
    if stater is None:
        return [Stored(rollout) for rollout in rollouts]
    found = []
    for rollout, view in zip(rollouts, views(rollouts), strict=True):
        [logits] = view_logits(stater, [view], [rollout.token_ids], n_ids)
        log_p = torch.log_softmax(logits.double(), dim=-1).detach()
        own = [float(row[i]) + shift for row, i in zip(log_p, rollout.token_ids, strict=True)]
        found.append(Stored(rollout, tuple(own)))
    return found


def sampled(loaded, **settings):
    return generate(loaded, PROMPTS, Sampling(max_response=6, **settings))


@pytest.fixture(scope="module")
def own(pair):
    return sampled(pair.student)


def compared(pair, responses, **options):
    return agreement(pair.student, views([one.rollout for one in responses]), responses, pair.n_ids, **options)


def test_the_numbers_are_those_of_the_definition(pair, own):
    """Token by token, in Python."""
    responses = stored(own[:4], pair.teacher, pair.n_ids)
    surprises, variances, ratios = [], [], []
    for one, view in zip(responses, views(own[:4]), strict=True):
        [logits] = view_logits(pair.student, [view], [one.rollout.token_ids], pair.n_ids)
        for row, token, said in zip(logits.tolist(), one.rollout.token_ids, one.log_probs, strict=True):
            top = max(row)
            total = sum(math.exp(x - top) for x in row)
            log_p = [x - top - math.log(total) for x in row]
            terms = [(math.exp(x), x) for x in log_p if x > -math.inf]
            entropy = -sum(p * x for p, x in terms)
            surprises.append(-log_p[token] - entropy)
            variances.append(sum(p * x * x for p, x in terms) - entropy**2)
            ratios.append(log_p[token] - said)
    found, n = compared(pair, responses, batch=3), len(surprises)
    assert found.n_tokens == found.n_stated == n
    assert found.surprise_nats == pytest.approx(sum(surprises) / n, abs=1e-6)
    assert found.z == pytest.approx(sum(surprises) / math.sqrt(sum(variances)), abs=1e-4)
    assert found.log_ratio_nats == pytest.approx(sum(ratios) / n, abs=1e-6)
    assert found.close_share == sum(abs(r) <= 0.1 for r in ratios) / n
    assert found.kl_nats == pytest.approx(sum(math.exp(r) - 1 - r for r in ratios) / n, rel=1e-4)


def test_own_samples_are_on_policy(pair, own):
    found = compared(pair, stored(own, pair.student, pair.n_ids))
    assert found.word == "on-policy" and abs(found.z) < 4
    assert found.log_ratio_nats == pytest.approx(0.0, abs=1e-5) and found.close_share == 1.0
    assert found.kl_nats == pytest.approx(0.0, abs=1e-6)
    assert "on-policy over" in str(found) and "KL" in str(found)
    assert "KL" not in str(compared(pair, stored(own)))


def test_greedy_answers_are_off_policy_although_their_log_probs_agree(pair):
    found = compared(pair, stored(sampled(pair.student, greedy=True), pair.student, pair.n_ids))
    assert found.word == "off-policy" and found.surprise_nats < 0 and found.close_share == 1.0


def test_another_model_s_are_off_policy_by_what_it_states(pair):
    found = compared(pair, stored(sampled(pair.teacher), pair.teacher, pair.n_ids))
    assert found.word == "off-policy" and found.kl_nats > 0.1 and found.log_ratio_nats < 0


@pytest.mark.parametrize(("shift", "word"), [(0.02, "on-policy"), (0.3, "nearly on-policy"), (1.0, "off-policy")])
def test_stated_numbers_that_are_off(pair, own, shift, word):
    """exp(-s) - 1 + s is 0.0002, 0.04 and 0.37 nats."""
    found = compared(pair, stored(own, pair.student, pair.n_ids, shift))
    assert found.word == word
    assert found.kl_nats == pytest.approx(math.exp(-shift) - 1 + shift, abs=1e-5)


def test_the_batch_changes_nothing(pair, own):
    one, many = (compared(pair, stored(own[:7]), batch=batch) for batch in (1, 7))
    assert replace(one, z=0.0).surprise_nats == pytest.approx(many.surprise_nats, abs=1e-6)


def test_words():
    assert Agreement(10, 0.03, 9.0).word == "nearly on-policy" and Agreement(10, 1.0, 3.9).word == "on-policy"
    assert Agreement(10, 0.0, 0.0, 10, 0.0, 1.0, 0.2).word == "off-policy"
