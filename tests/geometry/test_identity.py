"""Standard + gamma visual distils toward `steered_target`: the identity of docs/theory.md, and what follows from it.

Every loss is that of `objective_loss`, differentiated by autograd in float64; tokens have the weight 1 each.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from geometry import (
    BASIS,
    FourViews,
    Gram,
    Objective,
    Thresholds,
    decompose,
    kl_nats,
    log_probs,
    objective_loss,
    steered_target,
    visual_target,
)
from tests.geometry.problems import four_views, normal

EXACT = {"rtol": 0.0, "atol": 1e-12}
SEEDS = st.integers(0, 1000)
GAMMAS = st.floats(0.01, 10)
FEW = settings(max_examples=15)
OPEN, SHUT = Thresholds(-1.0, -1.0), Thresholds(math.inf, math.inf)


def student_of(views: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the student's two views as leaves with gradients."""
    image, text = (view.detach().clone().requires_grad_() for view in views[:2])
    return image, text


def gradients(views: list[Tensor], objective: Objective, edges: Thresholds = OPEN, **options) -> tuple[Tensor, Tensor]:
    """Return the gradients of the summed loss at the logits of the student's image view and text view."""
    image, text = student_of(views)
    shares = torch.ones(len(image), dtype=torch.float64)
    loss = objective_loss(
        FourViews(image, text, *views[2:]), objective, thresholds=edges, shares=shares, **options
    ).loss
    at_image, at_text = torch.autograd.grad(loss, [image, text], allow_unused=True, materialize_grads=True)
    return at_image, at_text


def toward_target(views: list[Tensor], gamma: float) -> Tensor:
    """Return the gradient of (1 + gamma) KL(p(.|I,x) || q~), q~ held fixed, at the image view's logits."""
    image, _ = student_of(views)
    target = steered_target(FourViews(*views), gamma).detach()
    return torch.autograd.grad((1 + gamma) * kl_nats(log_probs(image), target).sum(), image)[0]


def steered_loss(views: list[Tensor], gamma: float) -> Tensor:
    parts = decompose(FourViews(*views))
    return parts.standard + gamma * parts.visual


def least_loss(views: list[Tensor], gamma: float) -> Tensor:
    """Return the terms without p(.|I,x): gamma log Z* - (1 + gamma) log Z~, with plain sums of probabilities."""
    _, p_text, q_image, q_text = map(log_probs, views)
    ratio = (p_text - q_text).exp()
    z_visual = (q_image.exp() * ratio).sum(-1)
    z_steered = (q_image.exp() * ratio ** (gamma / (1 + gamma))).sum(-1)
    return gamma * z_visual.log() - (1 + gamma) * z_steered.log()


def without_gap(seed: int = 0) -> list[Tensor]:
    views = four_views(seed)
    views[1] = views[3]
    return views


@FEW
@given(seed=SEEDS, gamma=GAMMAS, scale=st.sampled_from([0.1, 2.0, 8.0]))
def test_the_gradient_is_that_of_the_target(seed: int, gamma: float, scale: float) -> None:
    views = four_views(seed, scale=scale)
    at_image, at_text = gradients(views, Objective("vgs", gamma=gamma))
    torch.testing.assert_close(at_image, toward_target(views, gamma), **EXACT)
    assert (at_text == 0).all()


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_the_loss_differs_by_terms_without_the_image_view(seed: int, gamma: float) -> None:
    views = four_views(seed)
    target = steered_target(FourViews(*views), gamma)
    for image in (views[0], normal(5, 7, seed=seed + 5000), target):
        rest = steered_loss([image, *views[1:]], gamma) - (1 + gamma) * kl_nats(log_probs(image), target)
        torch.testing.assert_close(rest, least_loss(views, gamma), **EXACT)


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_those_terms_are_the_least_loss_and_are_zero_without_a_language_gap_alone(seed: int, gamma: float) -> None:
    views = four_views(seed)
    target = steered_target(FourViews(*views), gamma)
    torch.testing.assert_close(steered_loss([target, *views[1:]], gamma), least_loss(views, gamma), **EXACT)
    assert (least_loss(views, gamma) > 1e-6).all()
    nothing = torch.zeros(5, dtype=torch.float64)
    torch.testing.assert_close(least_loss(without_gap(seed), gamma), nothing, **EXACT)


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_without_a_language_gap_the_gradient_is_a_multiple_of_the_standard_one(seed: int, gamma: float) -> None:
    views = without_gap(seed)
    standard, _ = gradients(views, Objective("standard"))
    steered, _ = gradients(views, Objective("vgs", gamma=gamma))
    torch.testing.assert_close(steered, (1 + gamma) * standard, **EXACT)


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_where_the_visual_loss_is_zero_the_gradient_is_the_standard_one(seed: int, gamma: float) -> None:
    views = four_views(seed)
    views[0] = visual_target(FourViews(*views))
    torch.testing.assert_close(decompose(FourViews(*views)).visual, torch.zeros(5, dtype=torch.float64), **EXACT)
    standard, _ = gradients(views, Objective("standard"))
    torch.testing.assert_close(gradients(views, Objective("vgs", gamma=gamma))[0], standard, **EXACT)


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_at_the_target_the_gap_of_looking_is_amplified(seed: int, gamma: float) -> None:
    """Where p_I = q~: language gap (1 + gamma) e, image gap gamma e, with e the gap of looking."""
    views = four_views(seed)
    _, p_text, q_image, q_text = map(log_probs, views)
    p_image = steered_target(FourViews(*views), gamma)
    torch.testing.assert_close(gradients([p_image, *views[1:]], Objective("vgs", gamma=gamma))[0], 0 * p_text, **EXACT)

    def free_of_constants(log_ratio: Tensor) -> Tensor:
        return log_ratio - log_ratio.mean(-1, keepdim=True)

    looking = free_of_constants((q_image - q_text) - (p_image - p_text))
    torch.testing.assert_close(free_of_constants(p_text - q_text), (1 + gamma) * looking, **EXACT)
    torch.testing.assert_close(free_of_constants(p_image - q_image), gamma * looking, **EXACT)


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_a_target_that_follows_adds_a_pull_at_the_text_view(seed: int, gamma: float) -> None:
    views = four_views(seed)
    at_image, at_text = gradients(views, Objective("vgs", gamma=gamma, prior="attached"))
    torch.testing.assert_close(at_image, toward_target(views, gamma), **EXACT)
    p_image = log_probs(views[0]).exp()
    visual = visual_target(FourViews(*views)).exp()
    torch.testing.assert_close(at_text, gamma * (visual - p_image), **EXACT)


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_that_pull_is_in_neither_the_target_nor_zero_there(seed: int, gamma: float) -> None:
    """At p_I = q~ the pull is gamma (q* - q~): all is at rest only if there is no language gap either."""
    views = four_views(seed)
    target = steered_target(FourViews(*views), gamma)
    at_image, at_text = gradients([target, *views[1:]], Objective("vgs", gamma=gamma, prior="attached"))
    visual = visual_target(FourViews(*views)).exp()
    torch.testing.assert_close(at_image, torch.zeros_like(at_image), **EXACT)
    torch.testing.assert_close(at_text, gamma * (visual - target.exp()), **EXACT)
    assert at_text.abs().max() > 1e-4
    views = without_gap(seed)
    resting = gradients([views[2], *views[1:]], Objective("vgs", gamma=gamma, prior="attached"))
    assert all(gradient.abs().max() < 1e-12 for gradient in resting)


@pytest.mark.parametrize("edges", [OPEN, SHUT], ids=["open", "shut"])
@FEW
@given(seed=SEEDS, gamma=GAMMAS, lambda_=st.floats(0.01, 3))
def test_language_preservation_leaves_the_target_and_pulls_the_text_view(edges, seed, gamma, lambda_) -> None:
    views = four_views(seed)
    at_image, at_text = gradients(views, Objective("vgs-lp", gamma=gamma, lambda_=lambda_), edges)
    torch.testing.assert_close(at_image, toward_target(views, gamma), **EXACT)
    _, text = student_of(views)
    language = torch.autograd.grad(kl_nats(log_probs(text), log_probs(views[3])).sum(), text)[0]
    torch.testing.assert_close(at_text, (lambda_ if edges is OPEN else 0.0) * language, **EXACT)


@FEW
@given(seed=SEEDS, gamma=GAMMAS, lambda_=st.floats(0.01, 3))
def test_once_language_is_preserved_steering_adds_nothing_to_preservation(seed, gamma, lambda_) -> None:
    """Where the language loss is 0 the whole gradient is 1 + gamma times that of gamma 0 with lambda / (1 + gamma)."""
    views = without_gap(seed)
    steered = gradients(views, Objective("vgs-lp", gamma=gamma, lambda_=lambda_))
    unsteered = gradients(views, Objective("vgs-lp", gamma=0.0, lambda_=lambda_ / (1 + gamma)))
    for one, other in zip(steered, unsteered, strict=True):
        torch.testing.assert_close(one, (1 + gamma) * other, **EXACT)
    assert steered[1].abs().max() < 1e-12


@pytest.mark.parametrize("edges", [OPEN, SHUT], ids=["open", "shut"])
@FEW
@given(seed=SEEDS, gamma=GAMMAS, lambda_=st.floats(0.01, 3))
def test_language_steering_damps_by_lambda_and_teaches_the_text_view_by_gamma(edges, seed, gamma, lambda_) -> None:
    views = four_views(seed)
    at_image, at_text = gradients(views, Objective("language-steering", gamma=gamma, lambda_=lambda_), edges)
    torch.testing.assert_close(at_image, toward_target(views, lambda_ if edges is OPEN else 0.0), **EXACT)
    _, text = student_of(views)
    language = torch.autograd.grad(kl_nats(log_probs(text), log_probs(views[3])).sum(), text)[0]
    torch.testing.assert_close(at_text, gamma * language, **EXACT)


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_a_prompt_without_an_image_keeps_the_weight_one(seed: int, gamma: float) -> None:
    """So that in a mixed batch without a language gap tokens with a picture count 1 + gamma times as much."""
    image, _, teacher, _ = four_views(seed)
    views, has_image = [image, image, teacher, teacher], torch.zeros(5, dtype=torch.bool)
    standard, _ = gradients(views, Objective("standard"))
    steered, _ = gradients(views, Objective("vgs", gamma=gamma), has_image=has_image)
    torch.testing.assert_close(steered, standard, **EXACT)
    torch.testing.assert_close(toward_target(views, gamma), standard, **EXACT)


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_steering_by_token_only_weighs_tokens_without_a_language_gap(seed: int, gamma: float) -> None:
    views = without_gap(seed)
    vds = decompose(FourViews(*views)).vds
    ordered = vds.sort().values
    low, high = ((ordered[place] + ordered[place + 1]).item() / 2 for place in (1, 3))
    strengths = gamma / 2 * ((vds > low).double() + (vds > high).double())
    steered, _ = gradients(views, Objective("adaptive", gamma=gamma, lambda_=0.0), Thresholds(low, high))
    standard, _ = gradients(views, Objective("standard"))
    torch.testing.assert_close(steered, (1 + strengths).unsqueeze(-1) * standard, **EXACT)
    assert len(strengths.unique()) == 3


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_the_steered_direction_is_visual_plus_the_damped_prior(seed: int, gamma: float) -> None:
    """In any parameters: its distance from visual is the prior's length over 1 + gamma, and its angle saturates."""
    vectors = normal(4, 30, seed=seed).numpy()
    gram = Gram(vectors @ vectors.T)
    weight = 1 / (1 + gamma)
    step = {"standard": weight, "visual": gamma * weight}
    assert gram.norm({**step, "visual": gamma * weight - 1.0}) == pytest.approx(weight * float(gram.norm("prior")))
    angles = [float(gram.angle_to_steered_deg(strength)) for strength in (0.0, gamma, gamma + 1.0, 1e9)]
    assert angles == sorted(angles)
    assert angles[3] == pytest.approx(float(gram.angle_deg("standard", "visual")), abs=1e-5)


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_the_angle_follows_from_the_lengths_and_the_angle_of_standard_and_visual(seed: int, gamma: float) -> None:
    vectors = normal(4, 30, seed=seed).numpy()
    gram = Gram(vectors @ vectors.T)
    reach = gamma * float(gram.norm("visual") / gram.norm("standard"))
    theta = math.radians(float(gram.angle_deg("standard", "visual")))
    expected = math.degrees(math.atan2(reach * math.sin(theta), 1.0 + reach * math.cos(theta)))
    assert float(gram.angle_to_steered_deg(gamma)) == pytest.approx(expected, abs=1e-5)


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_without_a_language_gap_eta_is_the_damping(seed: int, gamma: float) -> None:
    vectors = normal(4, 30, seed=seed).numpy()
    vectors[BASIS.index("prior")] = 0.0
    assert float(Gram(vectors @ vectors.T).eta(gamma)) == pytest.approx(1 / (1 + gamma))
