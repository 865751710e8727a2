"""The teacher's top K ids and a tail: against plain sums, and against the divergences of all ids."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geometry import (
    FourViews,
    Objective,
    Thresholds,
    cotangents,
    decompose,
    kl_nats,
    objective_loss,
    token_shares,
    top_ids,
    topk_log_probs,
    with_tail,
)
from geometry.topk import spread
from tests.geometry.problems import four_views, normal
from tests.geometry.test_objectives import EVERY

EXACT = {"rtol": 0.0, "atol": 1e-12}
EDGES = Thresholds(low=0.5, high=1.5)


def plain_bucketed(view: Tensor, ids: Tensor) -> Tensor:
    """Masses added up token by token."""
    rows = []
    for row, kept in zip(view.softmax(-1), ids.tolist(), strict=True):
        others = [row[v] for v in range(len(row)) if v not in kept]
        rows.append(torch.stack([*(row[v] for v in kept), sum(others, torch.zeros(()).double())]))
    return torch.stack(rows).log()


@pytest.mark.parametrize("k", [1, 3, 6, 7, 50])
def test_equals_plain_sums(k: int) -> None:
    student, _, teacher, _ = four_views()
    ids = top_ids(teacher, k)
    assert ids.shape == (5, min(k, 7))
    for row, kept in zip(teacher.tolist(), ids.tolist(), strict=True):
        assert kept == sorted(range(7), key=lambda v: -row[v])[:k]
    torch.testing.assert_close(topk_log_probs(student, ids), plain_bucketed(student, ids), **EXACT)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 8), scale=st.sampled_from([0.5, 2.0, 8.0]))
def test_no_divergence_of_two_views_grows(seed: int, k: int, scale: float) -> None:
    """The data processing inequality; for the visual loss it does not hold, q* being made of the buckets."""
    views = four_views(seed, scale=scale)
    whole, reduced = (
        decompose(FourViews(*views)),
        decompose(FourViews(*(topk_log_probs(view, top_ids(views[2], k)) for view in views))),
    )
    for name in ("standard", "language", "vds", "student_vds"):
        assert (getattr(reduced, name) <= getattr(whole, name) + 1e-12).all()


@given(seed=st.integers(0, 10_000))
def test_more_ids_lose_less(seed: int) -> None:
    image, _, teacher, _ = four_views(seed)
    found = [kl_nats(*(topk_log_probs(view, top_ids(teacher, k)) for view in (image, teacher))) for k in range(1, 8)]
    for fewer, more in zip(found, found[1:], strict=False):
        assert (fewer <= more + 1e-12).all()


@EVERY
@pytest.mark.parametrize("k", [6, 7, 9])
def test_ids_but_one_or_all_are_the_whole_loss(objective: Objective, k: int) -> None:
    """A tail of one id, and one of none."""
    views = four_views(1)
    students = [view.requires_grad_() for view in views[:2]]
    options = {"thresholds": EDGES, "shares": token_shares([5])}
    ids = top_ids(views[2], k)
    whole = objective_loss(FourViews(*views), objective, **options)
    found = objective_loss(FourViews(*(topk_log_probs(view, ids) for view in views)), objective, **options)
    torch.testing.assert_close(found.loss, whole.loss, **EXACT)
    for name, values in vars(whole.parts).items():
        torch.testing.assert_close(getattr(found.parts, name), values, **EXACT)
    slopes = [torch.autograd.grad(x.loss, students, allow_unused=True, materialize_grads=True) for x in (whole, found)]
    for want, got in zip(*slopes, strict=True):
        torch.testing.assert_close(got, want, **EXACT)


@pytest.mark.parametrize("k", [1, 3, 6, 7])
def test_gradient_at_the_logits_is_that_of_the_buckets_spread(k: int) -> None:
    views = four_views(2)
    ids = top_ids(views[2], k)
    image = views[0].requires_grad_()
    reduced = [topk_log_probs(view, ids) for view in views]
    want = torch.autograd.grad(kl_nats(plain_bucketed(image, ids)[:, :-1], reduced[2].detach()[:, :-1]).sum(), image)
    assert want[0].abs().max() > 0
    loss = decompose(FourViews(*reduced)).standard.sum()
    got = spread(cotangents(FourViews(*(view.detach() for view in reduced))).standard, image.detach(), ids)
    torch.testing.assert_close(got, torch.autograd.grad(loss, image)[0], **EXACT)


def test_gradient_equals_a_slow_twin() -> None:
    image, _, teacher, _ = four_views(3)
    image.requires_grad_()
    ids = top_ids(teacher, 2)
    log_p, log_q = plain_bucketed(image, ids), plain_bucketed(teacher, ids)
    want = torch.autograd.grad((log_p.exp() * (log_p - log_q)).sum(), image)[0]
    got = torch.autograd.grad(kl_nats(topk_log_probs(image, ids), topk_log_probs(teacher, ids)).sum(), image)[0]
    torch.testing.assert_close(got, want, **EXACT)


@pytest.mark.parametrize("k", [2, 5, 6])
def test_masked_ids_have_no_part(k: int) -> None:
    """Of seven ids two are masked: five leave no tail, six hold a masked one."""
    views = [view.index_fill(1, torch.tensor([1, 4]), -torch.inf) for view in four_views()]
    views[0].requires_grad_()
    ids = top_ids(views[2], k)
    reduced = [topk_log_probs(view, ids) for view in views]
    kept = [view[:, [0, 2, 3, 5, 6]] for view in views]
    want = kl_nats(*(topk_log_probs(view.log_softmax(-1), top_ids(kept[2], k)) for view in kept[::2]))
    torch.testing.assert_close(kl_nats(*reduced[::2]), want, **EXACT)
    gradient = torch.autograd.grad(decompose(FourViews(*reduced)).standard.sum(), views[0])[0]
    assert gradient.isfinite().all() and (gradient[:, [1, 4]] == 0).all() and gradient.abs().max() > 0
    at_buckets = cotangents(FourViews(*(view.detach() for view in reduced))).standard
    torch.testing.assert_close(spread(at_buckets, views[0].detach(), ids), gradient, **EXACT)


def test_a_small_tail_is_not_lost_in_float32() -> None:
    """1 - 0.999999999 is 0 in float32."""
    view = torch.tensor([[30.0, 0.0, 1.0, 2.0]])
    expected = view.double().log_softmax(-1)[:, 1:].logsumexp(-1)
    torch.testing.assert_close(topk_log_probs(view, torch.tensor([[0]]))[:, 1].double(), expected, rtol=1e-6, atol=0)


def test_leading_axes() -> None:
    views = four_views(0, 2, 3, 7)
    ids = top_ids(views[2], 3)
    flat = topk_log_probs(views[0].flatten(0, 1), ids.flatten(0, 1))
    assert torch.equal(topk_log_probs(views[0], ids), flat.unflatten(0, (2, 3)))


def test_a_server_that_sends_the_ids_alone() -> None:
    teacher = four_views()[2]
    ids = top_ids(teacher, 3)
    found = with_tail(teacher.log_softmax(-1).gather(-1, ids))
    torch.testing.assert_close(found, topk_log_probs(teacher, ids), **EXACT)
    sure = with_tail(torch.tensor([[0.0, -torch.inf]]))
    assert sure.exp().sum() == 1 and sure[0, 2].isfinite()
    with pytest.raises(ValueError, match=r"`kept` must hold a mass of at most 1, got 2\. Give log-prob"):
        with_tail(torch.zeros(1, 2))


def test_refuses_ids_that_do_not_fit() -> None:
    view = normal(2, 4)
    with pytest.raises(ValueError, match=r"`k` must be at least 1 id, got 0"):
        top_ids(view, 0)
    with pytest.raises(ValueError, match=r"`ids` must have the tokens of `view`, got shapes \(1, 1\) and \(2, 4\)"):
        topk_log_probs(view, torch.tensor([[0]]))
    with pytest.raises(ValueError, match=r"`ids` must lie in 0\.\.3, got 0\.\.4"):
        topk_log_probs(view, torch.tensor([[0], [4]]))
    with pytest.raises(ValueError, match=r"`ids` must hold an id once a token, got one twice"):
        topk_log_probs(view, torch.tensor([[0, 1], [2, 2]]))
