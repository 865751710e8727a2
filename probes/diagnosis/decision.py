"""The decision rule: from what was measured, and what a few real steps did, to what to train on.

`CASES` (`probes.diagnosis.cases`) gives the verdict, `probes.diagnosis.draft` gamma, lambda and prior. The draft rests
on a forecast of first order, and the rate one trains with may be beyond its range. So it is *tried*: real steps are
taken of the `candidates`, in their order, until one passes (`probes.diagnosis.trial`), and `OUTCOMES`, of which the
first row that holds counts, makes of that the recommendation.

A trial is no training run. It is a few steps on fixed responses, and the first steps of a fresh Adam are larger than
later ones: they move nearly every weight by the whole rate, whatever the length of its gradient. It asks whether a
setting unlearns language at once, at this rate; what is sure depends on how many prompts were measured, and with few of
them more passes. Its form and its thresholds are choices of this project.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from probes.diagnosis.cases import DO_NOT_STEER, STEER
from probes.diagnosis.draft import LAMBDA_MOST, STEERING, Choice, draft, without
from probes.diagnosis.facts import Facts
from probes.diagnosis.trial import Tried

GAMMA_MILD = 1.0  # what a trial falls back to
LAMBDAS_TRIED = (0.1, LAMBDA_MOST)


@dataclass(frozen=True)
class Review:
    """A draft that steers, its gamma and lambda, and what the trial has found so far."""

    facts: Facts
    gamma: float
    lambda_: float
    reasons: Mapping[str, str]
    """Of the draft, by setting."""

    @property
    def tried(self) -> Sequence[Tried]:
        return self.facts.trial.tried if self.facts.trial else ()

    @property
    def passed(self) -> Tried | None:
        return self.facts.trial.passed if self.facts.trial else None

    @property
    def found(self) -> Tried:
        """What is spoken of: the setting that passed, else the last one, which is the mildest."""
        return self.passed or self.tried[-1]

    @property
    def steps(self) -> str:
        return f"{self.facts.trial.steps} steps at rate {self.facts.trial.lr:g}" if self.facts.trial else ""


@dataclass(frozen=True)
class Outcome:
    """A row: by setting, the reasons that replace the draft's, formats of the review `r`."""

    when: Callable[[Review], bool]
    verdict: str
    reasons: Mapping[str, str]


_PASSED = STEERING + "; {r.steps} pass the trial, in the upper bins beside standard: {r.found.words}"
OUTCOMES: Sequence[Outcome] = (
    Outcome(lambda r: not r.tried, STEER, {"objective": STEERING + "; no step was tried"}),
    Outcome(
        lambda r: r.passed is None,
        DO_NOT_STEER,
        {
            "verdict": "{r.reasons[verdict]}, but no steering passes the trial: after {r.steps} of the mildest, gamma"
            " {r.found.gamma:g} and lambda {r.found.lambda_:g}, there stands in the upper bins beside standard:"
            " {r.found.words}",
            "objective": "no steering passes the trial: see the verdict; a smaller rate may change it",
        },
    ),
    Outcome(lambda r: r.passed is r.tried[0], STEER, {"objective": _PASSED}),
    Outcome(
        lambda r: r.found.gamma == r.gamma,
        STEER,
        {"objective": _PASSED, "lambda": "the first that passes the trial at gamma {r.gamma:g}; not {r.lambda_:g}"},
    ),
    Outcome(
        lambda r: True,
        STEER,
        {
            "objective": _PASSED,
            "gamma": "at gamma {r.gamma:g} no lambda up to 1 passes the trial; the rule: {r.reasons[gamma]}",
            "lambda": "the first that passes the trial at gamma {r.found.gamma:g}",
        },
    ),
)


def recommend(facts: Facts) -> list[Choice]:
    """Verdict, objective, gamma, lambda and prior, by the facts and their trial."""
    drafted = draft(facts)
    return drafted if (setting := _setting(drafted)) is None else _reviewed(drafted, facts, *setting)


def candidates(facts: Facts) -> list[tuple[float, float, str]]:
    """Gamma, lambda and prior of the settings to be tried, in order: the draft, more lambda, then less gamma."""
    drafted = draft(facts)
    if (setting := _setting(drafted)) is None:
        return []
    gamma, least = setting
    gammas = [gamma, *([GAMMA_MILD] if gamma > GAMMA_MILD else [])]
    lambdas = [least, *(lambda_ for lambda_ in LAMBDAS_TRIED if lambda_ > least)]
    return [(gamma, lambda_, drafted[-1].choice) for gamma in gammas for lambda_ in lambdas]


def _setting(drafted: Sequence[Choice]) -> tuple[float, float] | None:
    """Gamma and lambda; nothing where the draft does not steer."""
    _, _, gamma, lambda_, _ = (choice.choice for choice in drafted)
    return None if lambda_ == "-" else (float(gamma), float(lambda_))


def _reviewed(drafted: Sequence[Choice], facts: Facts, gamma: float, lambda_: float) -> list[Choice]:
    """What the trial makes of a draft that steers."""
    reasons = {choice.setting: choice.reason for choice in drafted}
    review = Review(facts, gamma, lambda_, reasons)
    outcome = next(row for row in OUTCOMES if row.when(review))
    reasons |= {setting: reason.format(r=review) for setting, reason in outcome.reasons.items()}
    if outcome.verdict != STEER:
        verdict = Choice("verdict", outcome.verdict, reasons["verdict"])
        return without(verdict, Choice("objective", "standard", reasons["objective"]))
    settings = {choice.setting: choice.choice for choice in drafted}
    if review.passed is not None:
        settings |= {"gamma": f"{review.passed.gamma:g}", "lambda": f"{review.passed.lambda_:g}"}
    return [Choice(setting, choice, reasons[setting]) for setting, choice in settings.items()]
