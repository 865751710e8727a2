"""Eq. 3-12: against a twin in plain Python, and the cases the paper's text speaks of."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geometry import Decomposition, FourViews, decompose, kl_nats, log_probs, visual_target
from tests.geometry.problems import VIEWS, four_views, shuffle
from tests.geometry.test_divergence import plain_kl

FIELDS = ("standard", "language", "visual", "vds", "student_vds")


def softmax(logits: list[float]) -> list[float]:
    weights = [math.exp(z) for z in logits]
    return [w / sum(weights) for w in weights]


def twin(views: list[Tensor]) -> dict[str, list[float]]:
    """Every quantity from products and ratios of probabilities, token by token."""
    out: dict[str, list[float]] = {name: [] for name in FIELDS}
    for rows in zip(*(view.tolist() for view in views), strict=True):
        p_image, p_text, q_image, q_text = map(softmax, rows)
        product = [p * a / b for p, a, b in zip(p_text, q_image, q_text, strict=True)]  # Eq. 9
        target = [x / sum(product) for x in product]  # Eq. 10
        out["standard"].append(plain_kl(p_image, q_image))
        out["language"].append(plain_kl(p_text, q_text))
        out["visual"].append(plain_kl(p_image, target))
        out["vds"].append(plain_kl(q_image, q_text))
        out["student_vds"].append(plain_kl(p_image, p_text))
    return out


def as_dict(parts: Decomposition) -> dict[str, Tensor]:
    return {name: getattr(parts, name) for name in FIELDS}


def test_equals_the_twin() -> None:
    views = four_views()
    expected = twin(views)
    for name, values in as_dict(decompose(FourViews(*views))).items():
        assert values.tolist() == pytest.approx(expected[name], rel=1e-11), name


def test_target_is_normalised_and_follows_eq_10() -> None:
    _, p_text, q_image, q_text = (log_probs(view) for view in four_views())
    target = visual_target(FourViews(p_text, p_text, q_image, q_text))
    product = p_text.exp() * q_image.exp() / q_text.exp()
    torch.testing.assert_close(target.exp(), product / product.sum(-1, keepdim=True))
    torch.testing.assert_close(target.exp().sum(-1), torch.ones(5, dtype=torch.float64))


def test_log_probs_give_what_logits_give() -> None:
    views = four_views()
    for name, values in as_dict(decompose(FourViews(*map(log_probs, views)))).items():
        torch.testing.assert_close(values, as_dict(decompose(FourViews(*views)))[name], msg=name)


@given(seed=st.integers(0, 1000))
def test_teacher_equal_to_student_leaves_nothing_to_learn(seed: int) -> None:
    p_image, p_text, *_ = four_views(seed)
    parts = decompose(FourViews(p_image, p_text, p_image, p_text))
    assert (parts.standard == 0).all() and (parts.language == 0).all()
    torch.testing.assert_close(parts.visual, torch.zeros_like(parts.visual), rtol=0, atol=1e-14)
    assert torch.equal(parts.vds, parts.student_vds)


def test_equal_views_have_no_visual_part_at_all() -> None:
    """A prompt without an image: exactly zero in float32 too, not zero up to rounding."""
    student, _, teacher, _ = (view.float() for view in four_views(0, 20, 300))
    parts = decompose(FourViews(student, student, teacher, teacher))
    assert (parts.vds == 0).all() and (parts.student_vds == 0).all() and (parts.visual == 0).all()
    assert torch.equal(parts.standard, parts.language)


def test_blind_teacher_makes_the_visual_objective_punish_looking() -> None:
    """By Eq. 10-11; the paper says that it reduces to standard distillation."""
    p_image, p_text, blind, _ = four_views()
    parts = decompose(FourViews(p_image, p_text, blind, blind))
    assert torch.equal(visual_target(FourViews(p_image, p_text, blind, blind)), log_probs(p_text))
    assert torch.equal(parts.visual, kl_nats(log_probs(p_image), log_probs(p_text)))
    assert torch.equal(parts.visual, parts.student_vds)
    assert (parts.visual > 0.01).all()


@given(seed=st.integers(0, 1000), shift=st.floats(-30, 30))
def test_knows_neither_logit_shifts_nor_the_order_of_ids_nor_the_batch(seed: int, shift: float) -> None:
    views = four_views(seed, 6, 7)
    reference = as_dict(decompose(FourViews(*views)))
    order = shuffle(7, seed)
    shifted = as_dict(decompose(FourViews(*(view + k * shift for k, view in enumerate(views)))))
    permuted = as_dict(decompose(FourViews(*(view[:, order] for view in views))))
    batched = as_dict(decompose(FourViews(*(view.view(2, 3, 7) for view in views))))
    halves = [as_dict(decompose(FourViews(*(view[rows] for view in views)))) for rows in (slice(0, 2), slice(2, 6))]
    for name, values in reference.items():
        torch.testing.assert_close(shifted[name], values)
        torch.testing.assert_close(permuted[name], values)
        torch.testing.assert_close(batched[name].flatten(), values)
        torch.testing.assert_close(torch.cat([half[name] for half in halves]), values)
        assert (values >= 0).all()


def test_masking_an_id_equals_slicing_it_away() -> None:
    views = four_views()
    masked = [view.clone() for view in views]
    for view in masked:
        view[:, 3] = -math.inf
    kept = [0, 1, 2, 4, 5, 6]
    sliced = as_dict(decompose(FourViews(*(view[:, kept] for view in views))))
    for name, values in as_dict(decompose(FourViews(*masked))).items():
        torch.testing.assert_close(values, sliced[name], msg=name)


def test_small_vds_survives_float32() -> None:
    views = four_views(2, 32, 5_000)
    views[3] = views[2] + 1e-3 * views[3]
    exact = decompose(FourViews(*views)).vds
    assert 1e-7 < exact.median() < 1e-5
    torch.testing.assert_close(decompose(FourViews(*(v.float() for v in views))).vds.double(), exact, rtol=3e-3, atol=0)


def test_bfloat16_is_computed_in_float32() -> None:
    assert all(
        v.dtype == torch.float32 for v in as_dict(decompose(FourViews(*(v.bfloat16() for v in four_views())))).values()
    )


def test_is_differentiable_in_the_student() -> None:
    views = four_views()
    views[0].requires_grad_()
    views[1].requires_grad_()
    decompose(FourViews(*views)).visual.sum().backward()
    assert views[0].grad is not None and views[1].grad is not None  # q* follows the text view


@pytest.mark.parametrize("wrong", [1, 2, 3])
def test_refuses_other_shapes(wrong: int) -> None:
    views = four_views()
    views[wrong] = views[wrong][:, :6]
    message = rf"`{VIEWS[wrong]}` must have the shape of `student_image`, got \(5, 6\) and \(5, 7\)\. Slice"
    with pytest.raises(ValueError, match=message):
        decompose(FourViews(*views))


def test_refuses_views_that_mask_different_ids() -> None:
    views = four_views()
    views[3][:, 0] = -math.inf
    with pytest.raises(ValueError, match=r"`teacher_text` must mask .* got 5 entries"):
        decompose(FourViews(*views))
    with pytest.raises(ValueError, match=r"`teacher_text` must mask .* `student_image` masks"):
        visual_target(FourViews(*views))
