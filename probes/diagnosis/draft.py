"""The draft of a recommendation, by the facts and the forecast of a first step, before any step is taken.

Where the verdict is to steer, gamma is

    gamma = 2.5 s min(1, 2 v),   s = teacher / (teacher + student),   v = visual / (visual + language)

s is the teacher's share of the looking: how far the picture's content moves the teacher's words, beside the student's
(without a content control, their visual dependencies). A blind student gives s = 1 and gamma 2.5; a teacher that looks
four times as hard as its student the published default 2; a blind teacher gives 0, for its visual loss only undoes the
student's looking (arXiv:2606.00564, Eq. 10-11). v is the visual part of the gap; below one half it holds gamma back.
The factor was 4 first, with which the bundled pair had gamma 3.25: trained so it answered fewer scenes right than at
gamma 2 in each of three seeds (LOG.md). One pair is behind it.
`PRIORS`, `GAMMAS` and `LAMBDAS` choose the rest in this order, from the forecast if there is one.
The form of gamma and every threshold here are choices of this project; the paper has one gamma for all pairs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from probes.diagnosis.cases import STEER, case_of
from probes.diagnosis.facts import GAMMA_MOST, Facts

GAMMA_STEP = 0.25
LAMBDA_PUBLISHED, LAMBDA_MOST = 0.01, 1.0
STEERING = "steering, with the language of the most visual tokens preserved"


@dataclass(frozen=True)
class Draft:
    """The facts and what has been chosen so far."""

    f: Facts
    gamma: float
    prior: str = "detached"

    @property
    def rise(self) -> float:
        return self.f.gamma_rise[self.prior]

    @property
    def attached_rise(self) -> float:
        return self.f.gamma_rise["attached"]

    @property
    def stop(self) -> float:
        """The least lambda that stops the rise at this gamma; 0 where nothing surely rises."""
        return self.f.lambda_stop.get((self.prior, self.gamma), math.inf) if self.rise < self.gamma else 0.0

    @property
    def below_rise(self) -> float:
        return math.floor(min(self.rise, self.gamma) / GAMMA_STEP) * GAMMA_STEP


@dataclass(frozen=True)
class Row:
    """A row of the later tables; the reason is a format of the draft `d` and its facts `f`."""

    when: Callable[[Draft], bool]
    choose: Callable[[Draft], str | float]
    reason: str


PRIORS: Sequence[Row] = (
    Row(
        lambda d: not d.f.gamma_rise,
        lambda d: "detached",
        "no forecast: detached is the default, and needs no backward pass through the text view",
    ),
    Row(
        lambda d: d.rise < d.gamma <= d.attached_rise,
        lambda d: "attached",
        "at gamma {d.gamma:g} the language loss of the upper bins rises with q* detached (from {d.rise:.2g}), and not"
        " with q* attached (from {d.attached_rise:.2g})",
    ),
    Row(
        lambda d: True,
        lambda d: "detached",
        "attached spares the upper bins' language nothing that detached does not, and costs a backward pass through"
        " the text view",
    ),
)
GAMMAS: Sequence[Row] = (
    Row(
        lambda d: bool(d.f.gamma_rise) and d.rise > 0.0 and d.stop > LAMBDA_MOST,
        lambda d: d.below_rise,
        "the rule gives {f.gamma:.2f}, but from {d.rise:.2g} on the language loss of the upper bins rises, and no"
        " lambda up to 1 stops it",
    ),
    Row(
        lambda d: True,
        lambda d: d.gamma,
        f"{GAMMA_MOST:g} x "
        + "{f.looking_share:.2f} (the teacher's share of the looking) x min(1, 2 x {f.visual_share:.2f} (the visual"
        " part of the gap)) = {f.gamma:.2f}",
    ),
)
LAMBDAS: Sequence[Row] = (
    Row(lambda d: not d.f.gamma_rise, lambda d: LAMBDA_PUBLISHED, "no forecast: the published value"),
    Row(
        lambda d: d.stop == 0.0,
        lambda d: LAMBDA_PUBLISHED,
        "the published value: up to gamma {d.gamma:g} no rise of the upper bins' language loss is sure in the forecast",
    ),
    Row(
        lambda d: d.stop <= LAMBDA_MOST,
        lambda d: max(_up(d.stop), LAMBDA_PUBLISHED),
        "from {d.stop:.2g} on it stops the upper bins' language loss from rising at gamma {d.gamma:g}, in the forecast"
        " of a first step and without eta; 0.01 at least",
    ),
    Row(
        lambda d: True,
        lambda d: LAMBDA_MOST,
        "the most that is recommended: standard alone already raises the language loss of the upper bins",
    ),
)


@dataclass(frozen=True)
class Choice:
    """One setting, what to set it to, and why."""

    setting: str
    choice: str
    reason: str


def draft(facts: Facts) -> list[Choice]:
    """Verdict, objective, gamma, lambda and prior."""
    case = case_of(facts)
    verdict = Choice("verdict", case.verdict, case.reason.format(f=facts))
    if case.verdict != STEER:
        return without(verdict, Choice("objective", case.objective, "see the verdict"))
    so_far = Draft(facts, round(facts.gamma / GAMMA_STEP) * GAMMA_STEP)
    so_far = replace(so_far, prior=(prior := _chosen("prior", PRIORS, so_far)).choice)
    gamma = _chosen("gamma", GAMMAS, so_far)
    so_far = replace(so_far, gamma=float(gamma.choice))
    if so_far.gamma == 0.0:
        standard = Choice("objective", "standard", "no gamma is left that spares the language of the upper bins")
        return [verdict, standard, gamma, Choice("lambda", "-", "nothing to preserve"), prior]
    return [verdict, Choice("objective", case.objective, STEERING), gamma, _chosen("lambda", LAMBDAS, so_far), prior]


def without(verdict: Choice, objective: Choice) -> list[Choice]:
    """A recommendation that does not steer."""
    return [verdict, objective, *(Choice(name, "-", verdict.choice) for name in ("gamma", "lambda", "prior"))]


def _chosen(setting: str, rows: Sequence[Row], so_far: Draft) -> Choice:
    row = next(row for row in rows if row.when(so_far))
    found = row.choose(so_far)
    words = found if isinstance(found, str) else f"{found:g}"
    return Choice(setting, words, row.reason.format(d=so_far, f=so_far.f))


def _up(value: float) -> float:
    """Rounded up to two significant digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / unit - 1e-9) * unit, 12)
