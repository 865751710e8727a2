"""The target of visual steering: against a twin in plain Python, its special cases, and what float32 makes of it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geometry import FourViews, kl_nats, log_probs, steered_target, visual_target
from tests.geometry.problems import four_views, shuffle
from tests.geometry.test_decomposition import softmax

EXACT = {"rtol": 0.0, "atol": 1e-12}
SEEDS = st.integers(0, 1000)
GAMMAS = st.floats(0, 20)


def target_of(views: list[Tensor], gamma: float) -> Tensor:
    return steered_target(FourViews(*views), gamma)


def without_gap(seed: int = 0) -> list[Tensor]:
    """Draw views whose text views are equal: the student's language is the teacher's."""
    views = four_views(seed)
    views[1] = views[3]
    return views


@given(seed=SEEDS, gamma=GAMMAS)
def test_equals_the_twin_of_plain_products(seed: int, gamma: float) -> None:
    views = four_views(seed)
    exponent = gamma / (1 + gamma)
    for token, row in enumerate(target_of(views, gamma).tolist()):
        p_text, q_image, q_text = (softmax(view[token].tolist()) for view in views[1:])
        product = [q * (p / t) ** exponent for q, p, t in zip(q_image, p_text, q_text, strict=True)]
        assert [math.exp(value) for value in row] == pytest.approx([x / sum(product) for x in product], rel=1e-11)


@given(seed=SEEDS, gamma=GAMMAS)
def test_the_prior_of_the_teacher_is_damped_and_its_use_of_the_picture_is_not(seed: int, gamma: float) -> None:
    """log q~ = (log q_I - log q_x) + log q_x / (1 + gamma) + log p_x gamma / (1 + gamma), up to a constant."""
    views = four_views(seed)
    _, p_text, q_image, q_text = map(log_probs, views)
    expected = (q_image - q_text) + q_text / (1 + gamma) + p_text * gamma / (1 + gamma)
    torch.testing.assert_close(target_of(views, gamma), expected.log_softmax(-1), **EXACT)


@given(seed=SEEDS)
def test_without_steering_it_is_the_teacher_and_without_bound_it_is_the_visual_target(seed: int) -> None:
    views = four_views(seed)
    assert torch.equal(target_of(views, 0.0), log_probs(views[2]))
    assert torch.equal(target_of(views, math.inf), visual_target(FourViews(*views)))
    torch.testing.assert_close(target_of(views, 1e14), target_of(views, math.inf), **EXACT)


@given(seed=SEEDS, gamma=st.one_of(GAMMAS, st.just(math.inf)))
def test_without_a_language_gap_it_is_the_teacher(seed: int, gamma: float) -> None:
    views = without_gap(seed)
    target = target_of(views, gamma)
    torch.testing.assert_close(target, log_probs(views[2]), **EXACT)
    assert math.isinf(gamma) or torch.equal(target, log_probs(views[2]))


def test_of_a_blind_teacher_it_lies_between_the_text_views() -> None:
    views = four_views()
    views[3] = views[2]
    mean = (log_probs(views[2]) + 2 * log_probs(views[1])) / 3
    torch.testing.assert_close(target_of(views, 2.0), mean.log_softmax(-1), **EXACT)
    assert torch.equal(target_of(views, math.inf), log_probs(views[1]))


@given(seed=SEEDS, gamma=st.floats(0.1, 20))
def test_it_saturates(seed: int, gamma: float) -> None:
    """Its log-ratio to the visual target is 1 / (1 + gamma) of the language gap; the divergence falls with gamma."""
    views = four_views(seed)
    limit = target_of(views, math.inf)
    gap = log_probs(views[3]) - log_probs(views[1])
    left = target_of(views, gamma) - limit - gap / (1 + gamma)
    torch.testing.assert_close(left, left.mean(-1, keepdim=True).expand_as(left), **EXACT)
    divergences = [kl_nats(target_of(views, strength), limit) for strength in (0.0, gamma, gamma + 1.0)]
    assert (divergences[0] >= divergences[1]).all() and (divergences[1] >= divergences[2]).all()


def test_the_weights_of_the_prior_pinned() -> None:
    views = four_views()
    gap = log_probs(views[3]) - log_probs(views[1])
    for gamma, weight in ((0.0, 1), (1.0, 1 / 2), (2.0, 1 / 3), (3.0, 1 / 4), (4.0, 1 / 5)):
        rest = target_of(views, gamma) - target_of(views, math.inf)
        slope = ((rest - rest.mean(-1, keepdim=True)) * gap).sum() / ((gap - gap.mean(-1, keepdim=True)) * gap).sum()
        assert float(slope) == pytest.approx(weight, rel=1e-11)


@given(seed=SEEDS, gamma=GAMMAS, shift=st.floats(-30, 30))
def test_knows_neither_logit_shifts_nor_the_order_of_ids_nor_the_batch(seed: int, gamma: float, shift: float) -> None:
    views, order = four_views(seed, 6, 7), shuffle(7, seed)
    expected = target_of(views, gamma)
    torch.testing.assert_close(target_of([view + k * shift for k, view in enumerate(views)], gamma), expected)
    torch.testing.assert_close(target_of([view[:, order] for view in views], gamma), expected[:, order])
    torch.testing.assert_close(target_of([view.view(2, 3, 7) for view in views], gamma).view(6, 7), expected)


@pytest.mark.parametrize("gamma", [0.0, 2.0, math.inf])
def test_masking_an_id_equals_slicing_it_away(gamma: float) -> None:
    views, kept = four_views(), [0, 1, 2, 4, 5, 6]
    masked = [view.clone() for view in views]
    for view in masked:
        view[:, 3] = -math.inf
    target = target_of(masked, gamma)
    assert target[:, 3].isneginf().all()
    torch.testing.assert_close(target[:, kept], target_of([view[:, kept] for view in views], gamma), **EXACT)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 1e6])
def test_probabilities_that_underflow_do_no_harm(gamma: float) -> None:
    """Ratios of probabilities that are 0 in float32: the logarithms are far from their limits."""
    views = four_views(1, scale=120.0)
    narrow = [view.float() for view in views]
    assert any((log_probs(view).exp() == 0).any() for view in narrow)
    target = target_of(narrow, gamma)
    assert target.dtype == torch.float32 and target.isfinite().all()
    exact = target_of([view.double() for view in narrow], gamma)
    torch.testing.assert_close(target.double(), exact, rtol=2e-6, atol=2e-4)


@pytest.mark.parametrize("prior", ["attached", "detached"])
def test_follows_the_text_view_of_the_student_unless_that_is_detached(prior: str) -> None:
    views = four_views()
    views[1].requires_grad_(prior == "attached")
    assert target_of(views, 2.0).requires_grad == (prior == "attached")


@pytest.mark.parametrize("gamma", [-0.1, math.nan])
def test_refuses_a_negative_strength(gamma: float) -> None:
    with pytest.raises(ValueError, match=r"`gamma` must be at least 0, got (-0\.1|nan)\. Give 0 for the teacher"):
        target_of(four_views(), gamma)


def test_refuses_other_shapes_and_masks() -> None:
    views = four_views()
    with pytest.raises(ValueError, match="`teacher_text` must have the shape of `student_image`"):
        target_of([*views[:3], views[3][:4]], 2.0)
    views[1][:, 0] = -math.inf
    with pytest.raises(ValueError, match=r"`student_text` must mask .* got 5 entries"):
        target_of(views, 2.0)
