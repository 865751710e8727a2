"""Runs of a toy student under AdamW: what steering makes of it where there is no language gap at first.

The teacher has the student's first weights, except those that read the picture. So p(.|x) = q(.|x) before the first
step. Float64, all tokens in each step, and an eps far below every gradient.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from geometry import FourViews, Objective, decompose, objective_loss

TOKENS: Final = 64
IDS: Final = 12
STEPS: Final = 100
RATE: Final = 3e-3
EPS: Final = 1e-30


class Toy(nn.Module):
    """Logits of tokens that are independent of each other, from a text and a picture of numbers."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int, scale: float = 1.0) -> Tensor:
            return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.read = nn.Parameter(draw(8, 16, scale=8**-0.5))
        self.look = nn.Parameter(draw(4, 16, scale=0.5))
        self.say = nn.Parameter(draw(16, IDS, scale=0.5))
        self.text, self.picture = draw(TOKENS, 8), draw(TOKENS, 4)
        self.other_look = self.look.detach() + draw(4, 16, scale=0.5)

    def views(self) -> tuple[Tensor, Tensor]:
        """Return the logits `[T, V]` with the picture and without it."""
        read = self.text @ self.read
        return (read + self.picture @ self.look).tanh() @ self.say, read.tanh() @ self.say

    def teacher(self) -> tuple[Tensor, Tensor]:
        """Return the logits of the student that looks otherwise."""
        twin = copy.deepcopy(self)
        with torch.no_grad():
            twin.look.copy_(self.other_look)
            image, text = twin.views()
        return image, text

    def weights(self) -> Tensor:
        """Return a copy of all parameters, in one row."""
        return torch.cat([parameter.detach().flatten() for parameter in self.parameters()])


@dataclass(frozen=True)
class Arm:
    """What a run lowers, and whether the language prior in q* stays that of the student before the first step."""

    objective: Objective
    frozen: bool = False


def preserved(lambda_: float, gamma: float = 2.0) -> Arm:
    """Return the arm of VGS with the language of all tokens but the least visual one preserved."""
    return Arm(Objective("vgs-lp", gamma=gamma, lambda_=lambda_, quantile=0.0))


ARMS: Final[Mapping[str, Arm]] = {
    "standard": Arm(Objective("standard")),
    "gamma 2, prior frozen": Arm(Objective("vgs"), frozen=True),
    "gamma 1": Arm(Objective("vgs", gamma=1.0)),
    "gamma 2": Arm(Objective("vgs")),
    "gamma 4": Arm(Objective("vgs", gamma=4.0)),
    "gamma 2, q* attached": Arm(Objective("vgs", prior="attached")),
    "gamma 2, lambda 0.01": preserved(0.01),
    "gamma 2, lambda 1/3": preserved(1 / 3),
    "gamma 2, lambda 1": preserved(1.0),
}


@dataclass(frozen=True)
class Run:
    """A run: the weights before it and after each step, `[steps + 1, n]`, and the mean losses at its end, in nats."""

    weights: Tensor
    standard_nats: float
    language_nats: float

    def way_from(self, other: "Run", step: int) -> float:
        """Return the distance of the weights from those of another run, as a share of that run's way so far."""
        way = other.weights[step] - other.weights[0]
        return float((self.weights[step] - other.weights[step]).norm() / way.norm())


def run(arm: Arm, seed: int, steps: int = STEPS, *, eps: float = EPS, clip: float = math.inf) -> Run:
    """Train a toy student.

    eps: of AdamW. clip: the greatest length of a gradient.
    """
    student = Toy(seed)
    teacher, first_text = student.teacher(), student.views()[1].detach()
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, eps=eps, weight_decay=0.01)
    weights = [student.weights()]
    shares = torch.full((TOKENS,), 1 / TOKENS, dtype=torch.float64)
    for _ in range(steps):
        image, text = student.views()
        views = FourViews(image, first_text if arm.frozen else text, *teacher)
        edges = arm.objective.thresholds(decompose(views).vds.detach()) if arm.objective.is_gated else None
        optimizer.zero_grad()
        objective_loss(views, arm.objective, thresholds=edges, shares=shares).loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), clip)
        optimizer.step()
        weights.append(student.weights())
    with torch.no_grad():
        parts = decompose(FourViews(*student.views(), *teacher))
    return Run(torch.stack(weights), float(parts.standard.mean()), float(parts.language.mean()))
