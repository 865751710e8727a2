"""The loss from whole logits against its definition, differentiated by autograd."""

import pytest
import torch
from torch import Tensor

from geometry import FourViews, Objective, Thresholds, objective_loss, token_shares
from tests.geometry.plain_loss import plain_objective_loss
from tests.geometry.test_chunked_loss import Largest
from tests.geometry.test_objectives import EVERY, HAS_IMAGE, LENGTHS, leaves, views_of

EDGES = Thresholds(low=0.4, high=1.0)
EXACT = {"rtol": 0.0, "atol": 1e-11}


def options(objective: Objective) -> dict:
    return {"thresholds": EDGES, "shares": token_shares(LENGTHS, objective.average), "has_image": HAS_IMAGE}


def gradients(loss: Tensor, of: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, of, retain_graph=True, allow_unused=True, materialize_grads=True))


@EVERY
@pytest.mark.parametrize("masked", [(), (1, 4)])
def test_equals_its_definition(objective: Objective, masked: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geometry.chunked_loss.blocks.BLOCK_BYTES", 3 * 7 * 4)  # three tokens
    drawn = leaves()
    views = [view.index_fill(1, torch.tensor(masked, dtype=torch.long), -torch.inf) for view in views_of(drawn)]
    found, expected = (f(FourViews(*views), objective, **options(objective)) for f in LOSSES)
    torch.testing.assert_close(found.loss, expected.loss, **EXACT)
    for got, want in zip(gradients(3 * found.loss, drawn[:2]), gradients(3 * expected.loss, drawn[:2]), strict=True):
        torch.testing.assert_close(got, want, **EXACT)
    for record in ("parts", "weights"):
        for name, values in vars(getattr(expected, record)).items():
            torch.testing.assert_close(getattr(getattr(found, record), name), values, **EXACT)
    torch.testing.assert_close(found.entropy, expected.entropy, **EXACT)


LOSSES = (objective_loss, plain_objective_loss)


@EVERY
def test_half_precision_is_computed_in_float32(objective: Objective) -> None:
    views = [view.detach().bfloat16().requires_grad_(row < 2) for row, view in enumerate(views_of(leaves()))]
    found, expected = (f(FourViews(*views), objective, **options(objective)) for f in LOSSES)
    assert found.loss.dtype == torch.float32
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-5, atol=1e-6)
    for got, want in zip(gradients(found.loss, views[:2]), gradients(expected.loss, views[:2]), strict=True):
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got, want, rtol=2e-2, atol=1e-4)


def test_without_grad_mode_or_a_graph_there_is_the_loss_alone() -> None:
    views, objective = views_of(leaves()), Objective("vgs-lp")
    expected = objective_loss(FourViews(*views), objective, **options(objective)).loss
    with torch.no_grad():
        found = objective_loss(FourViews(*views), objective, **options(objective)).loss
    constant = objective_loss(FourViews(*(v.detach() for v in views)), objective, **options(objective)).loss
    assert not found.requires_grad and not constant.requires_grad and expected.requires_grad
    assert torch.equal(found, expected) and torch.equal(constant, expected)


def test_a_mask_that_differs_in_one_token_is_refused() -> None:
    views = [view.detach().clone() for view in views_of(leaves())]
    views[3][5, 2] = -torch.inf
    with pytest.raises(ValueError, match=r"`teacher_text` must mask \(-inf\) the ids that `student_image` masks"):
        objective_loss(FourViews(*views), Objective("vgs"), shares=token_shares(LENGTHS))


@pytest.mark.parametrize(("objective", "n_kept"), [(Objective("vgs"), 1), (Objective("vgs-lp"), 2)])
def test_it_makes_no_tensor_of_all_logits_but_the_gradients(objective: Objective, n_kept: int) -> None:
    """One for each view that the objective trains; anything else is a chunk."""
    n_tokens, n_ids = 40, 1 << 19  # a chunk of 20 tokens
    views = [torch.zeros(1, 1).expand(n_tokens, n_ids) for _ in range(4)]
    students = [view.clone().requires_grad_() for view in views[:2]]

    class All(Largest):
        """Counts what is as large as all logits."""

        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            made = isinstance(result, Tensor) and not func.is_view and result.numel() == n_tokens * n_ids
            self.count += made and result.data_ptr() not in {a.data_ptr() for a in args if isinstance(a, Tensor)}
            return result

    with All() as made:
        objective_loss(FourViews(*students, *views[2:]), objective, thresholds=EDGES, shares=token_shares([n_tokens]))
    assert made.count == n_kept
