"""The ways of taking the loss that `tests.benchmarks.loss` compares, on random hidden states."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry import (
    FourViews,
    HiddenViews,
    LMHead,
    Objective,
    Thresholds,
    objective_loss,
    objective_loss_from_hidden,
    token_shares,
)
from tests.benchmarks.memory import _peak, _start

OBJECTIVE, THRESHOLDS = Objective("vgs-lp"), Thresholds(low=0.1, high=0.5)


@dataclass(frozen=True)
class Inputs:
    """Hidden states `[T, d]` of both views and heads `[V, d]` of both models."""

    student: list[Tensor]
    student_head: Tensor
    teacher: list[Tensor]
    teacher_head: Tensor

    @classmethod
    def draw(cls, n_tokens: int, n_ids: int, width: int) -> "Inputs":
        torch.manual_seed(0)
        image, head = torch.randn(n_tokens, width), torch.randn(n_ids, width).mul_(2.0 / width**0.5)
        views = [image + strength * torch.randn(n_tokens, width) for strength in (0.1, 0.3, 0.2, 0.4)]
        student = [view.requires_grad_() for view in views[:2]]
        return cls(student, head.clone().requires_grad_(), views[2:], head)

    def plain(self, shares: Tensor) -> Tensor:
        """Return the loss from whole logits, written out."""
        p_image, p_text = ((hidden @ self.student_head.T).log_softmax(-1) for hidden in self.student)
        with torch.no_grad():
            q_image, q_text = ((hidden @ self.teacher_head.T).log_softmax(-1) for hidden in self.teacher)
            target = (p_text + q_image - q_text).log_softmax(-1)
            gate = plain_kl(q_image, q_text) > THRESHOLDS.high
        steered = plain_kl(p_image, q_image) + OBJECTIVE.gamma * plain_kl(p_image, target)
        return ((steered + OBJECTIVE.lambda_ * gate * plain_kl(p_text, q_text)) * shares.float()).sum()

    def logits(self, shares: Tensor) -> Tensor:
        """Return it from whole logits."""
        students = [hidden @ self.student_head.T for hidden in self.student]
        teachers = [hidden @ self.teacher_head.T for hidden in self.teacher]
        return objective_loss(FourViews(*students, *teachers), OBJECTIVE, thresholds=THRESHOLDS, shares=shares).loss

    def hidden(self, shares: Tensor) -> Tensor:
        """Return it from hidden states."""
        student = HiddenViews(*self.student, LMHead(self.student_head))
        teacher = HiddenViews(*self.teacher, LMHead(self.teacher_head))
        return objective_loss_from_hidden(student, teacher, OBJECTIVE, thresholds=THRESHOLDS, shares=shares).loss


def plain_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def measure(way: str, n_tokens: int, n_ids: int, width: int) -> dict[str, float]:
    """Run one way once in this process."""
    inputs = Inputs.draw(n_tokens, n_ids, width)
    shares = token_shares([n_tokens])
    getattr(Inputs.draw(8, 16, 4), way)(token_shares([8])).backward()  # loads what is loaded at the first call
    held, began = _start(), time.process_time()
    loss = getattr(inputs, way)(shares)
    loss.backward()
    seconds, mib = time.process_time() - began, (_peak() - held) / 2**20
    leaves = [*inputs.student, inputs.student_head]
    norm = sum(float(leaf.grad.norm()) ** 2 for leaf in leaves if leaf.grad is not None) ** 0.5
    return {"seconds": seconds, "mib": mib, "loss": loss.item(), "norm": norm}
