"""The decision rule: from what was measured, and what a few real steps did, to what to train on.

`VERDICT_RULES` give the verdict, `probes.diagnosis.strength_rules` gamma, lambda and prior. The draft rests
on a forecast of first order, and the rate one trains with may be beyond its range. So it is *tried*: real steps are
taken of the `candidates`, in their order, until one passes (`probes.diagnosis.trial`), and `TRIAL_RULES`, of
which the first that holds counts, make of that the recommendation.

A trial is no training run. It is a few steps on fixed responses, and the first steps of a fresh Adam are larger than
later ones: they move nearly every weight by the whole rate, whatever the length of its gradient. It asks whether a
setting unlearns language at once, at this rate; what is sure depends on how many prompts were measured, and with few of
them more passes. Its form and its thresholds are choices of this project.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from probes.diagnosis.evidence import Evidence
from probes.diagnosis.strength_rules import LAMBDA_MOST, STEERING, Recommendation, draft
from probes.diagnosis.trial import Tried
from probes.diagnosis.verdict_rules import DO_NOT_STEER, STEER
from probes.stages.real_steps import Setting
from records.tables.forecast import PRIORS

GAMMA_MILD = 1.0  # what a trial falls back to
LAMBDAS_TRIED = (0.1, LAMBDA_MOST)


@dataclass(frozen=True)
class Review:
    """A draft that steers, its gamma and lambda, and what the trial has found so far."""

    evidence: Evidence
    gamma: float
    lambda_: float
    reasons: Mapping[str, str]
    """Of the draft, by setting."""

    @property
    def tried(self) -> Sequence[Tried]:
        return self.evidence.trial.tried if self.evidence.trial else ()

    @property
    def passed(self) -> Tried | None:
        return self.evidence.trial.passed if self.evidence.trial else None

    @property
    def shown(self) -> Tried:
        """What is spoken of: the setting that passed, else the last one, which is the mildest."""
        return self.passed or self.tried[-1]

    @property
    def steps(self) -> str:
        return f"{self.evidence.trial.steps} steps at rate {self.evidence.trial.lr:g}" if self.evidence.trial else ""


@dataclass(frozen=True)
class TrialRule:
    """A rule: by setting, the reasons that replace the draft's, formats of the review `r`."""

    when: Callable[[Review], bool]
    verdict: str
    reasons: Mapping[str, str]


_PASSED = STEERING + "; {r.steps} pass the trial, in the upper bins beside standard: {r.shown.words}"
TRIAL_RULES: Sequence[TrialRule] = (
    TrialRule(lambda r: not r.tried, STEER, {"objective": STEERING + "; no step was tried"}),
    TrialRule(
        lambda r: r.passed is None,
        DO_NOT_STEER,
        {
            "verdict": "{r.reasons[verdict]}, but no steering passes the trial: after {r.steps} of the mildest, gamma"
            " {r.shown.gamma:g} and lambda {r.shown.lambda_:g}, there stands in the upper bins beside standard:"
            " {r.shown.words}",
            "objective": "no steering passes the trial: see the verdict; a smaller rate may change it",
        },
    ),
    TrialRule(lambda r: r.passed is r.tried[0], STEER, {"objective": _PASSED}),
    TrialRule(
        lambda r: r.shown.gamma == r.gamma,
        STEER,
        {"objective": _PASSED, "lambda": "the first that passes the trial at gamma {r.gamma:g}; not {r.lambda_:g}"},
    ),
    TrialRule(
        lambda r: True,
        STEER,
        {
            "objective": _PASSED,
            "gamma": "at gamma {r.gamma:g} no lambda up to 1 passes the trial; the rule: {r.reasons[gamma]}",
            "lambda": "the first that passes the trial at gamma {r.shown.gamma:g}",
        },
    ),
)


def recommend(evidence: Evidence) -> Recommendation:
    """Return what to train with, by the evidence and its trial."""
    drafted = draft(evidence)
    return drafted if drafted.lambda_ is None else _reviewed(drafted, evidence)


def candidates(evidence: Evidence) -> list[Setting]:
    """Return the settings to be tried, in order: the draft, more lambda, then less gamma; none if it does not steer."""
    drafted = draft(evidence)
    if drafted.lambda_ is None or drafted.gamma is None:
        return []
    gammas = [drafted.gamma, *([GAMMA_MILD] if drafted.gamma > GAMMA_MILD else [])]
    lambdas = [drafted.lambda_, *(lambda_ for lambda_ in LAMBDAS_TRIED if lambda_ > drafted.lambda_)]
    prior = drafted.prior or PRIORS[0]
    return [Setting(gamma, lambda_, prior) for gamma in gammas for lambda_ in lambdas]


def _reviewed(drafted: Recommendation, evidence: Evidence) -> Recommendation:
    """What the trial makes of a draft that steers."""
    assert drafted.gamma is not None and drafted.lambda_ is not None
    review = Review(evidence, drafted.gamma, drafted.lambda_, drafted.reasons)
    rule = next(rule for rule in TRIAL_RULES if rule.when(review))
    reasons = {**drafted.reasons, **{setting: reason.format(r=review) for setting, reason in rule.reasons.items()}}
    if rule.verdict != STEER:
        kept = {setting: reasons[setting] for setting in ("verdict", "objective")}
        return Recommendation.without_steering(rule.verdict, "standard", kept)
    if review.passed is None:
        return replace(drafted, reasons=reasons)
    return replace(drafted, gamma=review.passed.gamma, lambda_=review.passed.lambda_, reasons=reasons)


def recommendation_table(advice: Recommendation, command: str, left_out: Sequence[str] = ()) -> pd.DataFrame:
    """Return the table `recommendation`.

    command: trains on it; left out where it is empty.
    left_out: settings that were measured and are not in the command.
    """
    reason = "; ".join(["trains on it, with the settings that were measured", *left_out])
    rows = [*advice.rows, *([{"setting": "command", "choice": command, "reason": reason}] if command else [])]
    return pd.DataFrame(rows)
