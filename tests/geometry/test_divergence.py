"""The reverse KL: against its definition, at its limits, and in float32."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geometry import kl_nats, log_probs
from tests.geometry.problems import four_views, shuffle

INF = math.inf


def plain_kl(p: list[float], q: list[float]) -> float:
    """KL(p || q) term by term, from probabilities."""
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def test_equals_the_definition() -> None:
    p, q = (log_probs(view) for view in four_views()[:2])
    twin = [plain_kl(a, b) for a, b in zip(p.exp().tolist(), q.exp().tolist(), strict=True)]
    assert kl_nats(p, q).tolist() == pytest.approx(twin, rel=1e-12)


def test_pinned_value() -> None:
    p, q = torch.tensor([0.5, 0.5]).double().log(), torch.tensor([0.25, 0.75]).double().log()
    assert kl_nats(p, q).item() == pytest.approx(0.5 * math.log(4 / 3), rel=1e-12)


@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-6, 1e-3, 1.0, 30.0]), single=st.booleans())
def test_is_never_negative_and_zero_for_equals(seed: int, scale: float, single: bool) -> None:
    p, q = (log_probs(view.float() if single else view) for view in four_views(seed, 4, 9, scale=scale)[:2])
    assert (kl_nats(p, q) >= 0).all()
    assert (kl_nats(p, p) == 0).all()


@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50))
def test_knows_neither_logit_shifts_nor_the_order_of_ids_nor_the_batch(seed: int, shift: float) -> None:
    a, b = four_views(seed, 6, 9)[:2]
    reference = kl_nats(log_probs(a), log_probs(b))
    order = shuffle(9, seed)
    torch.testing.assert_close(kl_nats(log_probs(a + shift), log_probs(b - shift)), reference)
    torch.testing.assert_close(kl_nats(log_probs(a[:, order]), log_probs(b[:, order])), reference)
    torch.testing.assert_close(kl_nats(log_probs(a).view(2, 3, 9), log_probs(b).view(2, 3, 9)).flatten(), reference)
    assert torch.equal(torch.cat([kl_nats(log_probs(a[i]), log_probs(b[i]))[None] for i in range(6)]), reference)


def test_survives_float32_where_the_plain_sum_does_not() -> None:
    """Teacher views 1e-6 nats apart over 32,000 ids: the plain sum shows the normalisers' rounding."""
    a, b = four_views(1, 64, 32_000, scale=1.5)[:2]
    b = a + 1e-3 * b
    exact = kl_nats(log_probs(a), log_probs(b))
    assert 5e-7 < exact.median() < 5e-6
    p, q = log_probs(a.float()), log_probs(b.float())
    error = (kl_nats(p, q) - exact).abs().max() / exact.median()
    plain = ((p.exp() * (p - q)).sum(-1) - exact).abs().max() / exact.median()
    assert error < 2e-3
    assert plain > 10 * error


def test_an_offset_of_the_normaliser_enters_in_second_order() -> None:
    a, b = (log_probs(view) for view in four_views(scale=1e-3)[:2])
    exact, offset = kl_nats(a, b), 1e-6
    torch.testing.assert_close(kl_nats(a + offset, b), exact, rtol=1e-4, atol=offset**2)


def test_zero_probabilities() -> None:
    half = math.log(0.5)
    p_zero = kl_nats(torch.tensor([-INF, 0.0]), torch.tensor([half, half]))
    q_zero = kl_nats(torch.tensor([half, half]), torch.tensor([-INF, 0.0]))
    both = kl_nats(torch.tensor([-INF, half, half]), torch.tensor([-INF, half, half]))
    assert p_zero.item() == pytest.approx(math.log(2))
    assert q_zero.item() == INF
    assert both.item() == 0.0


def test_gradient_is_that_of_the_plain_form_masked_or_not() -> None:
    a, b = (view.clone() for view in four_views(scale=3.0)[:2])
    a[:, 2] = b[:, 2] = -INF
    a.requires_grad_()
    b.requires_grad_()
    kl_nats(log_probs(a), log_probs(b)).sum().backward()
    kept = [0, 1, 3, 4, 5, 6]
    a_twin, b_twin = a.detach()[:, kept].requires_grad_(), b.detach()[:, kept].requires_grad_()
    p, q = a_twin.log_softmax(-1), b_twin.log_softmax(-1)
    (p.exp() * (p - q)).sum().backward()
    for view, twin in ((a, a_twin), (b, b_twin)):
        assert view.grad is not None and twin.grad is not None
        torch.testing.assert_close(view.grad[:, kept], twin.grad, rtol=0, atol=1e-12)
        assert (view.grad[:, 2] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_works_in_float32_or_better(dtype: torch.dtype) -> None:
    view = four_views()[0].to(dtype)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert log_probs(view).dtype == expected
    assert kl_nats(view, view).dtype == expected


def test_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"`log_q` must have the shape of `log_p`, got \(2, 4\) and \(2, 3\)"):
        kl_nats(torch.zeros(2, 3), torch.zeros(2, 4))
