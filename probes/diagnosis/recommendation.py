"""The decision rule: from what was measured, and what a few real steps did, to what to train on.

`VERDICT_RULES` say by the facts whether there is anything to steer to. `probes.diagnosis.strength_rules` draft gamma,
lambda and prior. The draft rests on a forecast of first order, and the rate one trains with may be beyond its range. So
it is *tried*: real steps are taken of the `candidates`, in their order, until one passes (`probes.diagnosis.judging`).
`TRIAL_RULES`, of which the first that holds counts, make of that one of three verdicts: steer, do not steer, or
undecided, with the number of prompts or steps that would decide.

Nothing is recommended that has not passed: without a trial the verdict is undecided, and fewer prompts or steps never
turn another verdict into `steer`. A trial is no training run. It is a few steps on fixed responses, and the first steps
of a fresh Adam are larger than later ones. Its form and its thresholds are choices of this project.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pandas as pd

from geometry.objective_settings import GAMMA, LAMBDA
from probes.diagnosis.evidence import Evidence
from probes.diagnosis.judging import Needs, Tried
from probes.diagnosis.strength_rules import LAMBDA_MOST, STEERING, Recommendation, draft
from probes.diagnosis.verdict_rules import DO_NOT_STEER, STEER, UNDECIDED
from probes.stages.trial_steps import Setting
from records.tables.forecast import PRIORS

GAMMA_MILD = 1.0  # what a trial falls back to
LAMBDAS_TRIED = (0.1, LAMBDA_MOST)
FROZEN: Final = "frozen"
"""q* holds the text view of the student before training."""


COMPARED: Final = (
    Setting(GAMMA, 0.0, PRIORS[0]),
    Setting(GAMMA, 0.0, FROZEN),
    Setting(GAMMA, LAMBDA, PRIORS[0]),
    Setting(GAMMA, LAMBDA_MOST, PRIORS[0]),
    Setting(0.0, LAMBDA_MOST, PRIORS[0]),
)
"""The settings that a study trains, whose predictions `study.validation` judges."""


@dataclass(frozen=True)
class Review:
    """A draft that may steer, its gamma and lambda, and what the trial has shown so far."""

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
    def undecided(self) -> Tried | None:
        """The undecided setting that decides: of those that head to pass the first to be settled, else the last."""
        every = self.evidence.trial.undecided if self.evidence.trial else ()
        if heading := [one for one in every if one.heads_to_pass]:
            return min(heading, key=_prompts_then_steps)
        return max(every, key=_prompts_then_steps, default=None)

    @property
    def shown(self) -> Tried:
        """What is spoken of: the setting that passed, else one that is undecided, else the last one."""
        return self.passed or self.undecided or self.tried[-1]

    @property
    def name(self) -> str:
        """The setting that is spoken of."""
        return f"gamma {self.shown.gamma:g} and lambda {self.shown.lambda_:g}, q* {self.shown.prior}"

    @property
    def steps(self) -> str:
        return f"{self.evidence.trial.steps} steps at rate {self.evidence.trial.lr:g}" if self.evidence.trial else ""


@dataclass(frozen=True)
class TrialRule:
    """A rule: by setting, the reasons that replace the draft's, formats of the review `r`."""

    when: Callable[[Review], bool]
    verdict: str
    reasons: Mapping[str, str]


_SHOWN = "in the upper bins the differences from standard distillation are {r.shown.words}"
_PASSED = STEERING + "; {r.steps} pass the trial: " + _SHOWN
TRIAL_RULES: Sequence[TrialRule] = (
    TrialRule(
        lambda r: not r.tried,
        UNDECIDED,
        {
            "verdict": "no step was tried, and without a trial nothing is recommended. The first setting to try is"
            " gamma {r.gamma:g} and lambda {r.lambda_:g}. By the facts alone: {r.reasons[verdict]}",
            "objective": "standard until it is decided",
        },
    ),
    TrialRule(
        lambda r: r.passed is None and r.undecided is not None,
        UNDECIDED,
        {
            "verdict": "after {r.steps} of {r.name}, " + _SHOWN + ": neither surely within the margin nor surely"
            " beyond it",
            "objective": "standard until it is decided",
        },
    ),
    TrialRule(
        lambda r: r.passed is None,
        DO_NOT_STEER,
        {
            "verdict": "{r.reasons[verdict]}, but no setting passes the trial: after {r.steps} of the last one,"
            " {r.name}, the verdict is '{r.shown.verdict}'; " + _SHOWN,
            "objective": "no setting passes the trial: see the verdict; a smaller rate may change it",
        },
    ),
    TrialRule(
        lambda r: r.shown.gamma == 0.0,
        DO_NOT_STEER,
        {
            "verdict": "{r.reasons[verdict]}, but no steering passes the trial; language preservation alone does",
            "objective": "language preservation without steering; {r.steps} pass the trial: " + _SHOWN,
            "gamma": "no gamma above 0 passes the trial",
            "lambda": "the first that passes the trial at gamma 0",
            "prior": "without steering it has no part",
        },
    ),
    TrialRule(lambda r: r.passed is r.tried[0], STEER, {"objective": _PASSED}),
    TrialRule(
        lambda r: r.shown.gamma == r.gamma,
        STEER,
        {"objective": _PASSED, "lambda": "the first that passes the trial at gamma {r.gamma:g}"},
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
    """Return the settings to be tried, in order; none if the facts speak against steering.

    The draft, the same with a frozen prior, more lambda, all of these with less gamma, then preservation alone.
    """
    drafted = draft(evidence)
    if drafted.lambda_ is None or drafted.gamma is None:
        return []
    gammas = [gamma for gamma in (drafted.gamma, GAMMA_MILD) if gamma == drafted.gamma or gamma < drafted.gamma]
    lambdas = [drafted.lambda_, *(lambda_ for lambda_ in LAMBDAS_TRIED if lambda_ > drafted.lambda_)]
    prior = drafted.prior or PRIORS[0]
    steering = []
    for gamma in gammas if drafted.gamma else []:
        detached = [Setting(gamma, lambda_, prior) for lambda_ in lambdas]
        steering += [detached[0], Setting(gamma, drafted.lambda_, FROZEN), *detached[1:]]
    return [*steering, *(Setting(0.0, lambda_, PRIORS[0]) for lambda_ in LAMBDAS_TRIED)]


def compared(settings: Sequence[Setting]) -> list[Setting]:
    """Return the settings followed by those of `COMPARED` that are not among them."""
    return [*settings, *(one for one in COMPARED if one not in settings)]


def needs(evidence: Evidence) -> Needs | None:
    """Return how many times the prompts or steps would decide; None where the trial has decided or none was made."""
    review = Review(evidence, 0.0, 0.0, {})
    return None if review.passed or review.undecided is None else review.undecided.needs


def _prompts_then_steps(one: Tried) -> tuple[float, float]:
    return one.needs.prompts, one.needs.steps


def _reviewed(drafted: Recommendation, evidence: Evidence) -> Recommendation:
    """What the trial makes of a draft."""
    assert drafted.gamma is not None and drafted.lambda_ is not None
    review = Review(evidence, drafted.gamma, drafted.lambda_, drafted.reasons)
    rule = next(rule for rule in TRIAL_RULES if rule.when(review))
    reasons = {**drafted.reasons, **{setting: reason.format(r=review) for setting, reason in rule.reasons.items()}}
    if review.passed is None:
        kept = {setting: reasons[setting] for setting in ("verdict", "objective")}
        return Recommendation.without_steering(rule.verdict, "standard", kept)
    chosen = review.passed
    strengths = replace(drafted, gamma=chosen.gamma, lambda_=chosen.lambda_, prior=chosen.prior)
    return replace(strengths, verdict=rule.verdict, reasons=reasons)


def recommendation_table(advice: Recommendation, command: str, why: Sequence[str] = ()) -> pd.DataFrame:
    """Return the table `recommendation`.

    command: what to run next; left out where it is empty.
    why: reasons for the command.
    """
    rows = [*advice.rows, *([{"setting": "command", "choice": command, "reason": "; ".join(why)}] if command else [])]
    return pd.DataFrame(rows)
