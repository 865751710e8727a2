"""A trial: a few real steps at the rate one means to train with, and what they change on the other half's responses.

From the weights as they are, a fresh AdamW takes steps along the first half's mean loss of vgs-lp, with the gradient
clipped as in training and made anew at each step on the same responses. What the losses of the second half's tokens
are then, less what they were, is the change; `probes.forecast.tables` foretells it to first order, this measures it.
The weights are put back bit for bit. Held meanwhile, beside models and gradient: a copy of the weights, and AdamW's
state, which is two more.
"""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import torch

from probes.corpus import Corpus
from probes.forecast.directions import Half, descent
from probes.forecast.steps import WEIGHT_DECAY, losses, moved, step_with
from probes.forecast.tables import ALL, HIGH, high_from, term_weights
from records.tables.diagnosis import TRIED
from stats.bootstrap import Interval, bootstrap_interval

CLIP_NORM = 1.0  # greatest length of a step's gradient, as in training
_BITS = 32


@dataclass(frozen=True)
class Setting:
    """A step of vgs-lp; standard distillation at gamma and lambda 0, where the prior has no part."""

    gamma: float
    lambda_: float
    prior: str


@dataclass(frozen=True)
class Pace:
    """How many steps, and of what rate."""

    steps: int
    lr: float


@dataclass(frozen=True)
class Ground:
    """What every setting starts from, and is measured on."""

    corpus: Corpus
    halves: tuple[Half, Half]
    pace: Pace

    @cached_property
    def before(self) -> pd.DataFrame:
        """The losses of the second half's tokens."""
        return losses(self.corpus, self.halves[1])

    def changes(self, setting: Setting) -> pd.DataFrame:
        """The change of each of them by the steps of a setting: a row a token of the second half, a column a loss."""
        first, second = self.halves
        terms = term_weights(setting.prior, setting.gamma, setting.lambda_)
        before, model = self.before, self.corpus.pair.student.model
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        with moved(model):
            optimizer = torch.optim.AdamW(trained, lr=self.pace.lr, weight_decay=WEIGHT_DECAY)
            for _ in range(self.pace.steps):
                step_with(optimizer, descent(self.corpus, first, terms), CLIP_NORM)
            after = losses(self.corpus, second)
        return (after - before)[list(TRIED)]


def can_step(corpus: Corpus) -> bool:
    """Whether the student's weights are fine enough for steps: in 16 bits one of 3e-4 is lost in the rounding."""
    parameters = corpus.pair.student.model.parameters()
    return all(torch.finfo(p.dtype).bits >= _BITS for p in parameters if p.requires_grad)


def trial_rows(
    setting: Setting, pace: Pace, changes: pd.DataFrame, standard: pd.DataFrame, n_bins: int, seed: int
) -> pd.DataFrame:
    """The rows of the table `trial` of one setting, but for its verdict.

    changes, standard: of the setting and of standard distillation, with the columns `prompt_id` and `bin`.
    """
    bins, prompts = changes["bin"].to_numpy(), changes["prompt_id"].to_numpy(str)
    known = {"gamma": setting.gamma, "lambda": setting.lambda_, "prior": setting.prior}
    known |= {"steps": pace.steps, "lr": pace.lr}
    rows = []
    for label, mask in ((HIGH, bins >= high_from(n_bins)), (ALL, bins >= 0)):
        for loss in TRIED:
            change, beside = changes[loss].to_numpy(), (changes[loss] - standard[loss]).to_numpy()
            row = known | {"bin": label, "loss": loss, "n_tokens": int(mask.sum())}
            row |= _ends("", bootstrap_interval(change[mask], prompts[mask], seed=seed), "change_")
            row |= _ends("beside_standard_", bootstrap_interval(beside[mask], prompts[mask], seed=seed))
            rows.append(row)
    return pd.DataFrame(rows)


def _ends(prefix: str, found: Interval, estimate: str = "") -> dict[str, float]:
    ends = {estimate: found.estimate, "low_": found.low, "high_": found.high}
    return {f"{prefix}{end}nats": value for end, value in ends.items()}
