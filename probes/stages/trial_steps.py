"""A trial: several steps of AdamW at the rate one means to train with, and what they change on held-out responses.

A trial clips the gradient as training does and makes it again at each step on the same responses. Weights are moved,
measured and put back. A copy of them and AdamW's state are held meanwhile: four times the weights in all, and one copy
more where the prior is frozen.
"""

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd
import torch

from geometry import steered
from geometry.gram import Prior
from probes.stages.first_order import Half, descent
from probes.stages.forecast import ALL, HIGH
from probes.stages.real_steps import WEIGHT_DECAY, losses, moved, of_rate, step_with
from records.tables.diagnosis import TRIED
from stats import Interval, bootstrap_interval, prompt_mean, upper_bins
from vlm.checkpoints.loaded_model import LoadedModel

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

CLIP_NORM = 1.0  # greatest length of a step's gradient, as in training
MARGIN_SHARE = 0.1
"""The margin of a verdict: a difference from standard distillation below this share of what standard distillation
moves that loss of a token, up or down, counts as none.

It is a share because a fixed number of nats passes every setting at few steps or at a small rate, where nothing has
moved yet. A tenth is a choice of this project: `python -m study.validation` judges it.
"""
CONFIDENCE = 0.99
"""Of the interval of a difference from standard: about ten settings are tried, so that a wrong pass stays near 5 %."""
TOO_FEW_BITS = "16-bit weights lose small ones; add --dtype float32"
_BITS = 32


@dataclass(frozen=True)
class Setting:
    """A step of vgs-lp; standard distillation at gamma and lambda 0, where the prior has no part."""

    gamma: float
    lambda_: float
    prior: Prior


@dataclass(frozen=True)
class Pace:
    """How many steps, and of what rate."""

    steps: int
    lr: float


@dataclass(frozen=True)
class Ground:
    """What every setting starts from, and is measured on."""

    analyzer: "Analyzer"
    halves: tuple[Half, Half]
    pace: Pace

    @cached_property
    def before(self) -> pd.DataFrame:
        """The losses of the second half's tokens."""
        return losses(self.analyzer, self.halves[1])

    def changes(self, setting: Setting) -> pd.DataFrame:
        """The change of each loss by the steps of a setting, by token of the second half: `[tokens, losses]`."""
        first, second = self.halves
        terms = steered(setting.gamma, setting.lambda_, prior=setting.prior)
        before, student = self.before, self.analyzer.pair.student
        model, prior = student.model, frozen(student) if setting.prior == "frozen" and setting.gamma else None
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        with moved(model), of_rate("lr", self.pace.lr):
            optimizer = torch.optim.AdamW(trained, lr=self.pace.lr, weight_decay=WEIGHT_DECAY)
            for _ in range(self.pace.steps):
                step_with(optimizer, descent(self.analyzer, first, terms, prior), CLIP_NORM)
            after = losses(self.analyzer, second)
        return (after - before)[list(TRIED)]


def frozen(student: LoadedModel) -> LoadedModel:
    """Return a copy of the student that no step moves."""
    model = copy.deepcopy(student.model)
    return replace(student, model=model.requires_grad_(False))


def can_step(analyzer: "Analyzer") -> bool:
    """Whether the student's weights are fine enough for steps: in 16 bits one of 3e-4 is lost in the rounding."""
    parameters = analyzer.pair.student.model.parameters()
    return all(torch.finfo(p.dtype).bits >= _BITS for p in parameters if p.requires_grad)


def trial_rows(
    setting: Setting, pace: Pace, changes: pd.DataFrame, standard: pd.DataFrame, n_bins: int, seed: int
) -> pd.DataFrame:
    """The rows of the table `trial` of one setting, without its verdict.

    changes, standard: of the setting and of standard distillation, with the columns `prompt_id` and `bin`.
    """
    bins, prompts = changes["bin"].to_numpy(), changes["prompt_id"].to_numpy(str)
    common = {"gamma": setting.gamma, "lambda": setting.lambda_, "prior": setting.prior}
    common |= {"steps": pace.steps, "lr": pace.lr}
    rows = []
    for label, mask in ((HIGH, bins >= upper_bins(n_bins)[0]), (ALL, bins >= 0)):
        for loss in TRIED:
            change, of_standard = changes[loss].to_numpy()[mask], standard[loss].to_numpy()[mask]
            row = common | {"bin": label, "loss": loss, "n_tokens": int(mask.sum())}
            row |= _ends("", bootstrap_interval(change, prompts[mask], seed=seed), "change_")
            row |= _ends("against_standard_", prompt_mean(change - of_standard, prompts[mask], CONFIDENCE))
            row["margin_nats"] = MARGIN_SHARE * float(abs(of_standard).mean()) if mask.any() else float("nan")
            rows.append(row)
    return pd.DataFrame(rows)


def _ends(prefix: str, interval: Interval, estimate: str = "") -> dict[str, float]:
    ends = {estimate: interval.estimate, "low_": interval.low, "high_": interval.high}
    return {f"{prefix}{end}nats": value for end, value in ends.items()}
