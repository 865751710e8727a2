"""The closed forms against autograd of the losses they are the gradients of."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geometry import OBJECTIVES, FourViews, cotangents
from geometry.gramian.backward import TEXT
from tests.geometry.problems import four_views

EXACT = {"rtol": 0.0, "atol": 1e-12}


def plain_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum()


def autograd_twin(views: list[Tensor]) -> dict[str, Tensor]:
    """The five gradients at the logits by autograd of losses written from the definitions."""
    z_image, z_text = (view.clone().requires_grad_() for view in views[:2])
    p_image, p_text = z_image.log_softmax(-1), z_text.log_softmax(-1)
    q_image, q_text = (view.log_softmax(-1) for view in views[2:])
    target = (p_text + q_image - q_text).log_softmax(-1)

    def grad(loss: Tensor, at: Tensor) -> Tensor:
        return torch.autograd.grad(loss, at, retain_graph=True, allow_unused=True, materialize_grads=True)[0]

    detached, attached = plain_kl(p_image, target.detach()), plain_kl(p_image, target)
    prior = (p_image.exp() * (p_text - q_text).detach()).sum()  # E_{p_I}[r], r held fixed
    torch.testing.assert_close(grad(attached, z_image), grad(detached, z_image), **EXACT)
    return {
        "standard": grad(plain_kl(p_image, q_image), z_image),
        "language": grad(plain_kl(p_text, q_text), z_text),
        "visual": grad(detached, z_image),
        "prior": grad(prior, z_image),
        "shift": grad(attached, z_text) - grad(detached, z_text),
    }


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_equals_autograd_of_its_loss(objective: str) -> None:
    views = four_views()
    torch.testing.assert_close(
        getattr(cotangents(FourViews(*views)), objective), autograd_twin(views)[objective], **EXACT
    )


@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.01, 1.0, 10.0]))
def test_standard_is_visual_plus_prior(seed: int, scale: float) -> None:
    c = cotangents(FourViews(*four_views(seed, scale=scale)))
    torch.testing.assert_close(c.standard, c.visual + c.prior, **EXACT)


@given(seed=st.integers(0, 1000))
def test_attached_visual_is_visual_plus_shift(seed: int) -> None:
    """In parameters that both views share: here the one vector that both logits are."""
    views = four_views(seed)
    z = views[0].clone().requires_grad_()
    p_image, p_text = z.log_softmax(-1), (2 * z).log_softmax(-1)
    target = (p_text + views[2].log_softmax(-1) - views[3].log_softmax(-1)).log_softmax(-1)
    attached = torch.autograd.grad(plain_kl(p_image, target), z)[0]
    c = cotangents(FourViews(views[0], 2 * views[0], *views[2:]))
    torch.testing.assert_close(attached, c.visual + 2 * c.shift, **EXACT)


def test_rows_sum_to_zero_and_views_are_named() -> None:
    c = cotangents(FourViews(*four_views()))
    for name in OBJECTIVES:
        torch.testing.assert_close(getattr(c, name).sum(-1), torch.zeros(5, dtype=torch.float64), **EXACT)


def test_rank_is_four() -> None:
    views = four_views(0, 1, 40)
    c = cotangents(FourViews(*views))
    zero = torch.zeros(1, 40, dtype=torch.float64)
    at_both = [torch.cat([zero, getattr(c, k)] if k in TEXT else [getattr(c, k), zero], -1) for k in OBJECTIVES]
    assert torch.linalg.matrix_rank(torch.cat(at_both)) == 4


def test_masked_ids_get_zero_and_the_rest_what_slicing_gives() -> None:
    views = four_views()
    masked = [view.clone() for view in views]
    for view in masked:
        view[:, 2] = -math.inf
    kept = [0, 1, 3, 4, 5, 6]
    sliced = cotangents(FourViews(*(view[:, kept] for view in views)))
    for name in OBJECTIVES:
        cotangent = getattr(cotangents(FourViews(*masked)), name)
        assert (cotangent[:, 2] == 0).all()
        torch.testing.assert_close(cotangent[:, kept], getattr(sliced, name), **EXACT)


def test_equal_views_have_no_visual_gradient_at_all() -> None:
    student, _, teacher, _ = (view.float() for view in four_views(0, 20, 300))
    c = cotangents(FourViews(student, student, teacher, teacher))
    assert (c.visual == 0).all() and (c.shift == 0).all()
    assert torch.equal(c.standard, c.language) and torch.equal(c.standard, c.prior)


def test_blind_teacher_pulls_towards_the_students_text_view() -> None:
    views = four_views()
    views[3] = views[2]
    z = views[0].clone().requires_grad_()
    own_use = plain_kl(z.log_softmax(-1), views[1].log_softmax(-1))
    torch.testing.assert_close(cotangents(FourViews(*views)).visual, torch.autograd.grad(own_use, z)[0], **EXACT)


def test_are_constants_in_float32_or_better() -> None:
    views = [view.bfloat16().requires_grad_() for view in four_views()]
    c = cotangents(FourViews(*views))
    assert c.visual.dtype == torch.float32 and not c.visual.requires_grad


def test_refuses_other_shapes() -> None:
    views = four_views()
    with pytest.raises(ValueError, match="`teacher_text` must have the shape of `student_image`"):
        cotangents(FourViews(*views[:3], views[3][:4]))
