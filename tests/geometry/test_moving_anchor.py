"""Where the student equals the teacher in both views: does it come back after a small push?

The student's logits are linear in its parameters: z = z_0 + A d, with d = 0 the teacher. Near 0 its gradient is M d.
docs/theory.md, "The anchor moves", derives M; here it is compared with gradients of `objective_loss`.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from geometry import FourViews, Objective, Thresholds, log_probs, objective_loss
from tests.geometry.problems import four_views, normal

FEW = settings(max_examples=4)
SEEDS, GAMMAS = st.integers(0, 1000), st.floats(0.1, 8)
TOKENS, IDS, PARAMETERS = 5, 7, 6
OPEN = Thresholds(-1.0, -1.0)


class Linear:
    """The views of a student whose logits move by `A d` with its parameters `d`, and of the teacher at d = 0."""

    def __init__(self, seed: int, *, equal_views: bool = False) -> None:
        _, _, self.teacher_image, self.teacher_text = four_views(seed, TOKENS, IDS)
        if equal_views:
            self.teacher_text = self.teacher_image
        self.to_image, self.to_text = (normal(TOKENS, IDS, PARAMETERS, seed=seed + k) for k in (7000, 8000))

    def gradient(self, d: Tensor, objective: Objective, *, frozen: bool = False) -> Tensor:
        """Return the gradient of the summed loss of all tokens, `[n]`. frozen: the prior in q* is that of d = 0."""
        d = d.detach().requires_grad_()
        text = self.teacher_text if frozen else self.teacher_text + self.to_text @ d
        views = FourViews(self.teacher_image + self.to_image @ d, text, self.teacher_image, self.teacher_text)
        shares = torch.ones(TOKENS, dtype=torch.float64)
        loss = objective_loss(views, objective, thresholds=OPEN, shares=shares).loss
        return torch.autograd.grad(loss, d)[0]

    def measured(self, objective: Objective, *, frozen: bool = False, step: float = 1e-5) -> Tensor:
        """Return M by central differences of the gradient."""
        pushes = step * torch.eye(PARAMETERS, dtype=torch.float64)
        sides = [[self.gradient(sign * push, objective, frozen=frozen) for push in pushes] for sign in (1, -1)]
        return (torch.stack(sides[0], dim=1) - torch.stack(sides[1], dim=1)) / (2 * step)

    def form(self, left: Tensor, right: Tensor, at: Tensor) -> Tensor:
        """Return the sum over tokens of left^T (diag(q) - q q^T) right."""
        q = log_probs(at).exp()
        fisher = torch.diag_embed(q) - q.unsqueeze(-1) * q.unsqueeze(-2)
        return torch.einsum("tvi,tvw,twj->ij", left, fisher, right)

    def predicted(self, gamma: float, lambda_: float = 0.0) -> Tensor:
        """Return M of VGS with q* held fixed and moving from step to step, with language preservation."""
        mixed = (1 + gamma) * self.to_image - gamma * self.to_text
        preserved = lambda_ * self.form(self.to_text, self.to_text, self.teacher_text)
        return self.form(self.to_image, mixed, self.teacher_image) + preserved


def least(matrix: Tensor) -> float:
    """Return the least eigenvalue of the symmetric part, as a share of the greatest length of an eigenvalue."""
    values = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
    return float(values.min() / values.abs().max())


def threshold(gamma: float) -> float:
    """Return the lambda from which preservation suffices in any direction, if both views have equal probabilities."""
    return gamma**2 / (4 * (1 + gamma))


@FEW
@given(seed=SEEDS, gamma=GAMMAS, lambda_=st.floats(0.01, 3))
def test_the_gradient_near_the_teacher_is_as_derived(seed: int, gamma: float, lambda_: float) -> None:
    student = Linear(seed)
    close = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(student.measured(Objective("vgs", gamma=gamma)), student.predicted(gamma), **close)
    preserved = student.measured(Objective("vgs-lp", gamma=gamma, lambda_=lambda_))
    torch.testing.assert_close(preserved, student.predicted(gamma, lambda_), **close)
    frozen = student.measured(Objective("vgs", gamma=gamma), frozen=True)
    standard = student.form(student.to_image, student.to_image, student.teacher_image)
    torch.testing.assert_close(frozen, (1 + gamma) * standard, **close)
    apart = student.to_image - student.to_text
    expected = standard + gamma * student.form(apart, apart, student.teacher_image)
    torch.testing.assert_close(student.measured(Objective("vgs", gamma=gamma, prior="attached")), expected, **close)


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_a_frozen_anchor_and_one_that_is_followed_bring_the_student_back(seed: int, gamma: float) -> None:
    student = Linear(seed)
    assert least(student.measured(Objective("vgs", gamma=gamma), frozen=True)) > -1e-7
    assert least(student.measured(Objective("vgs", gamma=gamma, prior="attached"))) > -1e-7


@pytest.mark.parametrize("gamma", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("excess", [-0.1, 0.1])
def test_a_moving_anchor_runs_away_where_the_text_view_moves_further(gamma: float, excess: float) -> None:
    """In one direction: away from 1 + 1 / gamma times the image view's way. Real descent, from a small push."""
    student = Linear(0)
    student.to_text = (1 + 1 / gamma + excess) * student.to_image
    objective, d = Objective("vgs", gamma=gamma), 1e-4 * normal(PARAMETERS)
    began = float(d.norm())
    for _ in range(60):
        d = d - 0.05 * student.gradient(d, objective)
    assert (float(d.norm()) > 1.2 * began) if excess > 0 else (float(d.norm()) < 0.9 * began)


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_enough_preservation_brings_the_student_back_in_any_direction(seed: int, gamma: float) -> None:
    student = Linear(seed, equal_views=True)
    objective = Objective("vgs-lp", gamma=gamma, lambda_=threshold(gamma))
    assert least(student.measured(objective)) > -1e-7


@FEW
@given(seed=SEEDS, gamma=GAMMAS)
def test_less_does_not_suffice_in_the_worst_direction(seed: int, gamma: float) -> None:
    student = Linear(seed, equal_views=True)
    student.to_text = 2 * (1 + gamma) / gamma * student.to_image
    assert torch.linalg.eigvalsh(student.predicted(gamma, 0.9 * threshold(gamma))).max() < 1e-9
    assert torch.linalg.eigvalsh(student.predicted(gamma, 1.1 * threshold(gamma))).min() > -1e-9


def test_the_thresholds_pinned() -> None:
    assert [threshold(gamma) for gamma in (1.0, 2.0, 3.0, 4.0)] == pytest.approx([1 / 8, 1 / 3, 9 / 16, 4 / 5])
