"""The draft of a recommendation, by the evidence and the forecast of a first step, before any step is taken.

Where the verdict is to steer, gamma is

    gamma = 2.5 s min(1, 2 v, 20 (1 - v)),   s = teacher / (teacher + student),   v = visual / (visual + language)

s is the teacher's share of the looking: how far the picture's content moves the teacher's words, compared with the
student's (without a content control, their visual dependencies). A blind student gives s = 1 and gamma 2.5; a teacher
that looks four times as hard as its student the published default 2; a blind teacher gives 0, for its visual loss only
undoes the student's looking (arXiv:2606.00564, Eq. 10-11). v is the visual part of the gap. Below one half it holds
gamma back, and near 1 too: without a gap in language steering does what standard distillation does.
The factor was 4 first, with which the bundled pair had gamma 3.25: trained so it answered fewer scenes right than at
gamma 2 in each of three seeds (LOG.md). One pair is behind it.
`PRIORS`, `GAMMAS` and `LAMBDAS` choose the rest in this order, from the forecast if there is one. A forecast whose
interval runs from 0 to infinity chooses nothing. The form of gamma and every threshold here are choices of this
project; the paper has one gamma for all pairs.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from geometry.objective_settings import LAMBDA, Prior
from probes.diagnosis.evidence import GAMMA_MOST, Evidence
from probes.diagnosis.verdict_rules import STEER, verdict_rule
from records.tables.forecast import PRIORS as FORECAST_PRIORS

GAMMA_STEP = 0.25
LAMBDA_MOST = 1.0
STEERING = "steering, with the language of the most visual tokens preserved"
NO_GAMMA = "no gamma is left that spares the language of the upper bins: preservation alone"


@dataclass(frozen=True)
class Draft:
    """The evidence and what has been chosen so far."""

    f: Evidence
    gamma: float
    prior: Prior = "detached"

    @property
    def can_tell(self) -> bool:
        """Whether the forecast says where this prior's language loss rises."""
        return self.prior in self.f.gamma_rise

    @property
    def can_compare(self) -> bool:
        """Whether it says so of both priors."""
        return len(self.f.gamma_rise) == len(FORECAST_PRIORS)

    @property
    def rise(self) -> float:
        return self.f.gamma_rise.get(self.prior, math.inf)

    @property
    def attached_rise(self) -> float:
        return self.f.gamma_rise["attached"]

    @property
    def stop(self) -> float:
        """The least lambda that stops the rise at this gamma; 0 where nothing surely rises, nan if none can tell."""
        return self.f.lambda_stop.get((self.prior, self.gamma), math.nan) if self.rise < self.gamma else 0.0

    @property
    def below_rise(self) -> float:
        return math.floor(min(self.rise, self.gamma) / GAMMA_STEP) * GAMMA_STEP


@dataclass(frozen=True)
class StrengthRule:
    """A rule of the later tables; the reason is a format of the draft `d` and its evidence `f`."""

    when: Callable[[Draft], bool]
    choose: Callable[[Draft], str | float]
    reason: str


PRIORS: Sequence[StrengthRule] = (
    StrengthRule(
        lambda d: not d.f.has_forecast,
        lambda d: "detached",
        "no forecast: detached is the default, and needs no backward pass through the text view",
    ),
    StrengthRule(
        lambda d: not d.can_compare,
        lambda d: "detached",
        "the forecast chooses nothing, its interval runs from 0 to infinity: detached is the default, and needs no"
        " backward pass through the text view",
    ),
    StrengthRule(
        lambda d: d.rise < d.gamma <= d.attached_rise,
        lambda d: "attached",
        "at gamma {d.gamma:g} the language loss of the upper bins rises with q* detached (from {d.rise:.2g}), and not"
        " with q* attached (from {d.attached_rise:.2g})",
    ),
    StrengthRule(
        lambda d: True,
        lambda d: "detached",
        "attached spares the upper bins' language nothing that detached does not, and costs a backward pass through"
        " the text view",
    ),
)
GAMMAS: Sequence[StrengthRule] = (
    StrengthRule(
        lambda d: d.can_tell and d.rise > 0.0 and d.stop > LAMBDA_MOST,
        lambda d: d.below_rise,
        "the rule gives {f.gamma:.2f}, but from {d.rise:.2g} on the language loss of the upper bins rises, and no"
        " lambda up to 1 stops it",
    ),
    StrengthRule(
        lambda d: True,
        lambda d: d.gamma,
        f"{GAMMA_MOST:g} x "
        + "{f.looking_share:.2f} (the teacher's share of the looking) x {f.held_back:.2f} (what a visual part of"
        " {f.visual_share:.2f} of the gap leaves) = {f.gamma:.2f}",
    ),
)
LAMBDAS: Sequence[StrengthRule] = (
    StrengthRule(lambda d: not d.f.has_forecast, lambda d: LAMBDA, "no forecast: the published value"),
    StrengthRule(
        lambda d: not d.can_tell or math.isnan(d.stop),
        lambda d: LAMBDA,
        "the published value: the forecast chooses nothing, its interval runs from 0 to infinity",
    ),
    StrengthRule(
        lambda d: d.stop == 0.0,
        lambda d: LAMBDA,
        "the published value: up to gamma {d.gamma:g} no rise of the upper bins' language loss is sure in the forecast",
    ),
    StrengthRule(
        lambda d: d.stop <= LAMBDA_MOST,
        lambda d: max(_up(d.stop), LAMBDA),
        "from {d.stop:.2g} on it stops the upper bins' language loss from rising at gamma {d.gamma:g}, in the forecast"
        f" of a first step and without eta; {LAMBDA:g} at least",
    ),
    StrengthRule(
        lambda d: True,
        lambda d: LAMBDA_MOST,
        "the most that is recommended: standard alone already raises the language loss of the upper bins",
    ),
)


@dataclass(frozen=True)
class Recommendation:
    """The verdict, the objective and its strengths, with a reason for each; a strength that has no part is None."""

    verdict: str
    objective: str
    gamma: float | None
    lambda_: float | None
    prior: Prior | None
    reasons: Mapping[str, str]

    @classmethod
    def without_steering(cls, verdict: str, objective: str, reasons: Mapping[str, str]) -> "Recommendation":
        """Return a recommendation that does not steer; `reasons` are those of the verdict and the objective."""
        rest = dict.fromkeys(("gamma", "lambda", "prior"), verdict)
        return cls(verdict, objective, None, None, None, {**reasons, **rest})

    def needing(self, words: str) -> "Recommendation":
        """Return the same with words before the reason of the verdict, which say what would decide."""
        return replace(self, reasons={**self.reasons, "verdict": f"{words}: {self.reasons['verdict']}"})

    @property
    def rows(self) -> list[dict[str, str]]:
        """The rows of the table `recommendation`, numbers as text."""
        choices = {
            "verdict": self.verdict,
            "objective": self.objective,
            "gamma": _words(self.gamma),
            "lambda": _words(self.lambda_),
            "prior": self.prior or "-",
        }
        return [{"setting": name, "choice": text, "reason": self.reasons[name]} for name, text in choices.items()]


def draft(evidence: Evidence) -> Recommendation:
    """Return what is recommended before any step is tried."""
    rule = verdict_rule(evidence)
    reasons = {"verdict": rule.reason.format(f=evidence)}
    if rule.verdict != STEER:
        return Recommendation.without_steering(
            rule.verdict, rule.objective, {**reasons, "objective": "see the verdict"}
        )
    so_far = Draft(evidence, round(evidence.gamma / GAMMA_STEP) * GAMMA_STEP)
    prior, reasons["prior"] = _chosen(PRIORS, so_far)
    so_far = replace(so_far, prior=prior)
    gamma, reasons["gamma"] = _chosen(GAMMAS, so_far)
    so_far = replace(so_far, gamma=gamma)
    lambda_, reasons["lambda"] = _chosen(LAMBDAS, so_far)
    reasons["objective"] = STEERING if gamma else NO_GAMMA
    return Recommendation(rule.verdict, rule.objective, gamma, lambda_, prior, reasons)


def _chosen(rules: Sequence[StrengthRule], so_far: Draft) -> tuple[Any, str]:
    """What the first rule that holds chooses, and why."""
    rule = next(rule for rule in rules if rule.when(so_far))
    return rule.choose(so_far), rule.reason.format(d=so_far, f=so_far.f)


def _words(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _up(value: float) -> float:
    """Rounded up to two significant digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / unit - 1e-9) * unit, 12)
