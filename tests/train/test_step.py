"""The update: what its gradient is the sum of, eta, and numbers that are not finite."""

import math

import numpy as np
import pytest
import torch

from geometry import FourViews, objective_loss, token_shares, top_ids, topk_log_probs, total
from tests.train.small import batch, both_logits, learner, small, watch, weights
from train.gradients import batch_grams
from train.step import _losses, needed, summed_gradient, update
from vlm.responses.response import both_views, has_image


def gradient_of(checkpoints, **changes):
    found = learner(small(checkpoints, **changes))
    gradient, loss, eta, tokens = summed_gradient(found, batch(found), watch())
    return torch.cat([g.flatten() for g in gradient]), loss, eta, tokens


def relative(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("objective", ["vgs-lp", "vgs", "adaptive", "language-steering"])
def test_without_steering_and_preservation_it_is_the_standard_gradient(checkpoints, objective):
    found, loss, eta, _ = gradient_of(checkpoints, objective=objective, gamma=0.0, lambda_=0.0)
    standard, its_loss, _, _ = gradient_of(checkpoints, objective="standard")
    assert torch.equal(found, standard)
    assert (loss, eta) == (its_loss, 1.0)


@pytest.mark.parametrize("eta", ["none", "measured"])
@pytest.mark.parametrize("average", ["trajectory", "token"])
@pytest.mark.parametrize("size", [1, 4])
def test_micro_batches_change_nothing(checkpoints, average, eta, size):
    """Of one response, too, whose prompt may be without a picture."""
    whole, loss, _, _ = gradient_of(checkpoints, average=average, eta=eta)
    parts, its_loss, _, _ = gradient_of(checkpoints, average=average, eta=eta, micro_batch=size)
    assert relative(parts, whole) < 1e-6
    assert its_loss == pytest.approx(loss, rel=1e-6)


def test_the_loss_is_the_objective_s_over_the_whole_batch(checkpoints):
    """A slow twin: one response at a time, thresholds and shares of all of them."""
    found = learner(small(checkpoints, eta="none"))
    made = batch(found)
    pair, objective = found.pair, found.config.training_objective
    responses = made.responses
    shares = token_shares([r.n_tokens for r in responses]).float().split([r.n_tokens for r in responses])
    views = [both_logits(pair.student, [r], pair.n_ids) + both_logits(pair.teacher, [r], pair.n_ids) for r in responses]
    loss = sum(
        objective_loss(
            FourViews(*view),
            objective,
            thresholds=made.thresholds[0],
            shares=share,
            has_image=has_image([r], share.device),
        ).loss
        for view, share, r in zip(views, shares, responses, strict=True)
    )
    slow = torch.cat([g.flatten() for g in torch.autograd.grad(loss, found.parameters)])
    gradient, value, _, _ = summed_gradient(found, made, watch())
    assert relative(torch.cat([g.flatten() for g in gradient]), slow) < 1e-5
    assert value == pytest.approx(loss.item(), rel=1e-5)


def test_eta_is_that_of_the_gram_matrix(checkpoints):
    """On prompts with a picture alone; without one a token's standard loss is not in the measured geometry."""
    found = learner(small(checkpoints, objective="vgs", batch=5))
    made = batch(found)
    gram = total(batch_grams(found, made))
    gradient, _, eta, _ = summed_gradient(found, made, watch())
    assert eta == pytest.approx(float(gram.eta(2.0)), rel=1e-4)
    length = math.sqrt(sum(float(g.square().sum()) for g in gradient))
    assert length == pytest.approx(float(gram.norm("standard")), rel=1e-4)


def test_micro_batches_do_not_change_the_measured_gradients(checkpoints):
    whole, parts = (learner(small(checkpoints, micro_batch=size)) for size in (6, 1))
    grams = [total(batch_grams(found, batch(found))).values for found in (whole, parts)]
    np.testing.assert_allclose(grams[1], grams[0], rtol=1e-5, atol=1e-6 * np.abs(grams[0]).max())


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "vgs"},
        {"objective": "vgs-lp"},
        {"objective": "vgs-lp", "prior": "attached"},
        {"objective": "adaptive"},
        {"objective": "language-steering", "gamma": 0.5},
        {"objective": "language-steering", "vp": "printed"},
    ],
)
def test_measured_eta_scales_all_but_the_preservation_term(checkpoints, changes):
    """What comes out is what the measured number, given as a constant, makes."""
    changes = changes if changes["objective"] == "vgs" else {"lambda_": 0.5} | changes
    found, loss, eta, _ = gradient_of(checkpoints, **changes)
    plain, its_loss, _, _ = gradient_of(checkpoints, **changes | {"eta": eta})
    assert 0.0 < eta < 1.0
    assert relative(found, plain) < 1e-5
    assert loss == pytest.approx(its_loss, rel=1e-5)


def test_a_measured_eta_may_scale_the_whole_loss(checkpoints):
    """Eq. 18 as printed: the gradient and loss of Eq. 17 without eta, times the number that is measured."""
    changes = {"objective": "vgs-lp", "lambda_": 0.5, "eta_scales": "loss"}
    found, loss, eta, _ = gradient_of(checkpoints, **changes)
    whole, its_loss, _, _ = gradient_of(checkpoints, **changes | {"eta": "none"})
    given, given_loss, _, _ = gradient_of(checkpoints, **changes | {"eta": eta})
    spared, _, other, _ = gradient_of(checkpoints, **changes | {"eta_scales": "steered"})
    assert relative(found, eta * whole) < 1e-5 and relative(given, found) < 1e-5
    assert loss == pytest.approx(eta * its_loss, rel=1e-5) and given_loss == pytest.approx(loss, rel=1e-5)
    assert other == pytest.approx(eta, rel=1e-6) and relative(spared, found) > 1e-2


def test_a_loss_weighted_by_vds_has_the_norm_of_the_standard_gradient(checkpoints):
    found, _, eta, tokens = gradient_of(checkpoints, objective="vds-weighted")
    standard, _, _, _ = gradient_of(checkpoints, objective="standard")
    plain, _, one, _ = gradient_of(checkpoints, objective="vds-weighted", eta="none")
    assert found.norm() == pytest.approx(float(standard.norm()), rel=1e-5) and one == 1.0
    assert relative(found, eta * plain) < 1e-5 and relative(found, standard) > 0.05
    parts, _, _, _ = gradient_of(checkpoints, objective="vds-weighted", micro_batch=2)
    assert relative(parts, found) < 1e-5


def test_weights_by_vds_are_of_the_global_batch(checkpoints):
    """A slow twin over the whole batch: VDS by its mean over tokens with a picture, 1 without one."""
    found = learner(small(checkpoints, objective="vds-weighted", eta="none", micro_batch=2))
    made = batch(found)
    parts = summed_gradient(found, made, watch())
    shown = parts.tokens.has_image.bool()
    assert shown.any() and not shown.all()
    weights = (parts.tokens.vds / parts.tokens.vds[shown].mean()).clamp(max=20.0).where(shown, torch.tensor(1.0))
    shares = token_shares([r.n_tokens for r in made.responses]).float()
    assert parts.loss == pytest.approx(float((shares * weights * parts.tokens.standard).sum()), rel=1e-5)


def test_what_eta_is_measured_with(checkpoints):
    def names(**changes):
        return [(o.name, o.terms) for o in needed(small(checkpoints, **changes))]

    standard, steered = ("standard", ("standard", None, None)), ("standard", "visual", None)
    assert names(eta="none") == [("vgs-lp", ("standard", "visual", "language"))]
    assert names(objective="standard") == [standard]
    assert names(objective="vgs") == [("vgs", steered), standard]
    assert names() == [("vgs-lp", (None, None, "language")), ("vgs-lp", steered), standard]


def test_a_preservation_term_apart_does_not_run_through_the_image_view(checkpoints):
    """Nor through the head: its gradient is the language loss's alone."""
    found = learner(small(checkpoints))
    made = batch(found)
    alone, *_ = needed(found.config)
    losses, _ = _losses(found, [alone], made.parts[0])
    gradients = torch.autograd.grad(losses[0], found.parameters, allow_unused=True)
    vision = {p for name in ("vision_tower", "merger") for p in found.pair.student.groups[name]}
    pairs = list(zip(found.parameters, gradients, strict=True))
    assert all(g is None for p, g in pairs if p in vision)
    whole, steered = (gradient_of(checkpoints, eta="none", lambda_=lambda_)[0] for lambda_ in (0.01, 0.0))
    flat = torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs])
    assert relative(whole - steered, flat) < 1e-3 and flat.norm() > 0


def test_a_support_of_all_ids_is_the_full_one(checkpoints):
    full, loss, _, _ = gradient_of(checkpoints, eta="none")
    every, its_loss, _, _ = gradient_of(checkpoints, eta="none", support="topk:100000")
    assert relative(every, full) < 1e-4 and its_loss == pytest.approx(loss, rel=1e-5)
    few, _, _, _ = gradient_of(checkpoints, eta="none", support="topk:3")
    assert relative(few, full) > 1e-2


def test_a_support_of_few_ids_is_the_loss_of_their_buckets(checkpoints):
    found = learner(small(checkpoints, eta="none", support="topk:3"))
    made, objective = batch(found), found.config.training_objective
    pair, responses = found.pair, made.responses
    views = [*both_logits(pair.student, responses, pair.n_ids), *both_logits(pair.teacher, responses, pair.n_ids)]
    ids = top_ids(views[2], 3)
    shares = token_shares([r.n_tokens for r in responses]).float()
    about = {"thresholds": made.thresholds[0], "has_image": has_image(responses, shares.device)}
    loss = objective_loss(
        FourViews(*(topk_log_probs(view, ids) for view in views)), objective, shares=shares, **about
    ).loss
    slow = torch.cat([g.flatten() for g in torch.autograd.grad(loss, found.parameters)])
    gradient, value, _, _ = summed_gradient(found, made, watch())
    assert relative(torch.cat([g.flatten() for g in gradient]), slow) < 1e-5
    assert value == pytest.approx(loss.item(), rel=1e-5)


def test_quantiles_of_the_batch_or_of_each_micro_batch(checkpoints):
    whole = batch(learner(small(checkpoints, micro_batch=2))).thresholds
    parts = batch(learner(small(checkpoints, micro_batch=2, quantile_scope="micro-batch"))).thresholds
    assert len(whole) == len(parts) == 3
    assert len(set(whole)) == 1 and len(set(parts)) > 1
    assert batch(learner(small(checkpoints, quantile_scope="micro-batch"))).thresholds == [whole[0]]


def moved(checkpoints, eta, steps=1, eps=1e-8):
    """How the weights move under vgs without a clip, and the first gradient."""
    config = small(checkpoints, objective="vgs", eta=eta, clip_norm="none", weight_decay=0.0, lr=1e-3)
    found = learner(config)
    for group in found.optimizer.param_groups:
        group["eps"] = eps
    before = weights(found)
    gradient, _, _, _ = summed_gradient(found, batch(found), watch())
    for step in range(steps):
        update(found, batch(found, step), watch())
    return weights(found) - before, torch.cat([g.flatten() for g in gradient])


@pytest.mark.parametrize("eta", [0.41, "measured"])
def test_eta_changes_nothing_under_adam_without_a_clip(checkpoints, eta):
    """In one update, where the gradient is far above Adam's eps and its own rounding."""
    plain, gradient = moved(checkpoints, "none")
    scaled, _ = moved(checkpoints, eta)
    above = gradient.abs() > 1e-3
    assert above.float().mean() > 0.1
    assert relative(scaled[above], plain[above]) < 1e-4


def test_a_constant_eta_changes_nothing_in_many_steps(checkpoints):
    """A power of two, which rounds nothing, and no eps to speak of: equal everywhere."""
    plain, _ = moved(checkpoints, "none", steps=3, eps=1e-20)
    scaled, _ = moved(checkpoints, 0.5, steps=3, eps=1e-20)
    assert relative(scaled, plain) < 1e-4


def test_the_clip_shortens_the_gradient_and_the_journal_has_its_length_before(checkpoints):
    found = learner(small(checkpoints, clip_norm=1e-3))
    lengths = []
    found.optimizer.register_step_pre_hook(
        lambda *_: lengths.append(torch.cat([p.grad.flatten() for p in found.parameters]).norm())
    )
    outcome = update(found, batch(found), watch())
    assert float(lengths[0]) == pytest.approx(1e-3, rel=1e-3)
    assert outcome.gradient_norm > 1e-2


def test_a_text_view_that_is_not_trained_has_no_graph(checkpoints, monkeypatch):
    asked = []

    def spy(loaded, responses, n_ids, *, text_graph=True, features=None):
        asked.append(text_graph and torch.is_grad_enabled())
        return both_views(loaded, responses, n_ids, text_graph=text_graph, features=features)

    monkeypatch.setattr("train.step.both_views", spy)
    for objective, graph in (("standard", False), ("vgs", False), ("vgs-lp", True), ("language-steering", True)):
        found = learner(small(checkpoints, objective=objective))
        made = batch(found)
        asked.clear()
        summed_gradient(found, made, watch())
        assert asked == [graph]


def test_a_loss_that_is_not_finite_leaves_the_weights(checkpoints):
    found = learner(small(checkpoints))
    made = batch(found)
    with torch.no_grad():
        found.parameters[-1].fill_(torch.nan)
    before = weights(found)
    outcome = update(found, made, watch())
    assert outcome.skipped
    assert torch.equal(weights(found), before) or torch.equal(weights(found).isnan(), before.isnan())
    assert not found.optimizer.state


def test_a_teacher_that_is_not_finite_is_skipped_too(checkpoints):
    found = learner(small(checkpoints))
    with torch.no_grad():
        next(iter(found.pair.teacher.model.parameters())).fill_(torch.nan)
    outcome = update(found, batch(found), watch())
    assert outcome.skipped and outcome.tokens is None


def test_off_policy_responses_are_the_teacher_s(checkpoints):
    found = learner(small(checkpoints, objective="off-policy"))
    theirs = {r.rollout.rollout_id: r.rollout.token_ids for r in batch(found).responses}
    own = learner(small(checkpoints))
    assert theirs != {r.rollout.rollout_id: r.rollout.token_ids for r in batch(own).responses}
