"""The decision rule: from what was measured to what to train on, as tables of condition, choice and reason.

`CASES` gives the verdict: its rows are read from the top, and the first whose condition holds counts. Where it says to
steer, gamma is

    gamma = 4 s min(1, 2 v),   s = teacher / (teacher + student),   v = visual / (visual + language)

s is the teacher's share of the looking: how far the picture's content moves the teacher's words, beside the student's
(without a content control, their visual dependencies). A blind student gives s = 1 and gamma 4, the largest published;
two that look alike give the published default 2; a blind teacher gives 0, for its visual loss only undoes the student's
looking (arXiv:2606.00564, Eq. 10-11). v is the visual part of the gap; below one half it holds gamma back.
`PRIORS`, `GAMMAS` and `LAMBDAS` choose the rest in this order, from the forecast of a first step if there is one.
The form of gamma and every threshold here are choices of this project; the paper has one gamma for all pairs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from probes.diagnosis.facts import BLIND_NATS, Facts

STEER, DO_NOT_STEER, HARMFUL, NOTHING = "steer", "do not steer", "harmful", "nothing to distil"

GAMMA_STEP = 0.25
LAMBDA_PUBLISHED, LAMBDA_MOST = 0.01, 1.0
SAME_NATS = 1e-6  # a standard loss up to which two models are one; of the mean over tokens
AHEAD_SHARE = 1 / 3  # of the looking: a teacher with less looks half as hard as the student
LANGUAGE_SHARE = 0.25  # of the gap: with a smaller visual part there is little to steer to


@dataclass(frozen=True)
class Case:
    """A row: the reason is a format of the facts `f`."""

    name: str
    when: Callable[[Facts], bool]
    verdict: str
    objective: str
    reason: str


CASES: Sequence[Case] = (
    Case(
        "teacher equals student",
        lambda f: max(f.standard_nats, f.visual_nats, f.language_nats) <= SAME_NATS,
        NOTHING,
        "none",
        "standard, visual and language loss: {f.standard_nats:.2g}, {f.visual_nats:.2g}, {f.language_nats:.2g} nats",
    ),
    Case(
        "blind teacher, seeing student",
        lambda f: f.teacher_is_blind and f.student_vds_nats > BLIND_NATS,
        HARMFUL,
        "standard",
        "the teacher is blind (VDS {f.vds_nats:.2g} nats), so the visual loss, {f.visual_nats:.2g} nats, is the"
        " student's own dependence on the picture, {f.student_vds_nats:.2g}: steering would make the student stop"
        " looking",
    ),
    Case(
        "blind teacher, blind student",
        lambda f: f.teacher_is_blind,
        DO_NOT_STEER,
        "standard",
        "neither looks (VDS {f.vds_nats:.2g} and {f.student_vds_nats:.2g} nats): there is nothing to steer to",
    ),
    Case(
        "teacher sees presence only, seeing student",
        lambda f: f.sees_presence_only and f.student_content_nats > BLIND_NATS,
        HARMFUL,
        "standard",
        "the teacher reacts to the presence of a picture only: another prompt's moves it by {f.content_nats:.2g} nats,"
        " of a VDS of {f.vds_nats:.2g}; steering would make the student stop telling pictures apart"
        " ({f.student_content_nats:.2g} nats)",
    ),
    Case(
        "teacher sees presence only, blind student",
        lambda f: f.sees_presence_only,
        DO_NOT_STEER,
        "standard",
        "the teacher reacts to the presence of a picture only: another prompt's moves it by {f.content_nats:.2g} nats,"
        " of a VDS of {f.vds_nats:.2g}",
    ),
    Case(
        "student looks harder than teacher",
        lambda f: f.looking_share < AHEAD_SHARE,
        DO_NOT_STEER,
        "standard",
        "the picture moves the teacher by {f.teacher_looks_nats:.2g} nats and the student by"
        " {f.student_looks_nats:.2g}: steering would mostly undo the student's looking; take another teacher",
    ),
    Case(
        "gap in language",
        lambda f: f.visual_share < LANGUAGE_SHARE,
        DO_NOT_STEER,
        "standard",
        "of the gap {f.visual_share:.0%} is visual ({f.visual_nats:.2g} nats beside {f.language_nats:.2g} of"
        " language): standard distillation first, then diagnose again",
    ),
    Case(
        "seeing teacher, blind student",
        lambda f: f.student_is_blind,
        STEER,
        "vgs-lp",
        "the student hardly looks ({f.student_looks_nats:.2g} nats) where the teacher does"
        " ({f.teacher_looks_nats:.2g}); of the gap {f.visual_share:.0%} is visual",
    ),
    Case(
        "both see",
        lambda f: True,
        STEER,
        "vgs-lp",
        "the teacher looks ({f.teacher_looks_nats:.2g} nats, the student {f.student_looks_nats:.2g}), and of the gap"
        " {f.visual_share:.0%} is visual",
    ),
)


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
        "4 x {f.looking_share:.2f} (the teacher's share of the looking) x min(1, 2 x {f.visual_share:.2f} (the visual"
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


def case_of(facts: Facts) -> Case:
    """The first row of `CASES` that holds."""
    return next(case for case in CASES if case.when(facts))


def recommend(facts: Facts) -> list[Choice]:
    """Verdict, objective, gamma, lambda and prior."""
    case = case_of(facts)
    verdict = Choice("verdict", case.verdict, case.reason.format(f=facts))
    if case.verdict != STEER:
        objective = Choice("objective", case.objective, "see the verdict")
        return [verdict, objective, *(Choice(name, "-", case.verdict) for name in ("gamma", "lambda", "prior"))]
    draft = Draft(facts, round(facts.gamma / GAMMA_STEP) * GAMMA_STEP)
    draft = replace(draft, prior=(prior := _chosen("prior", PRIORS, draft)).choice)
    gamma = _chosen("gamma", GAMMAS, draft)
    draft = replace(draft, gamma=float(gamma.choice))
    if draft.gamma == 0.0:
        standard = Choice("objective", "standard", "no gamma is left that spares the language of the upper bins")
        return [verdict, standard, gamma, Choice("lambda", "-", "nothing to preserve"), prior]
    objective = Choice("objective", case.objective, "steering, with the language of the most visual tokens preserved")
    return [verdict, objective, gamma, _chosen("lambda", LAMBDAS, draft), prior]


def _chosen(setting: str, rows: Sequence[Row], draft: Draft) -> Choice:
    row = next(row for row in rows if row.when(draft))
    found = row.choose(draft)
    words = found if isinstance(found, str) else f"{found:g}"
    return Choice(setting, words, row.reason.format(d=draft, f=draft.f))


def _up(value: float) -> float:
    """Rounded up to two significant digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / unit - 1e-9) * unit, 12)
