"""Evidence whose verdict is known: a case for each rule, and what a forecast or a trial adds to it."""

from dataclasses import replace
from math import inf

from probes.diagnosis.evidence import Evidence
from probes.diagnosis.judging import Difference, Tried
from probes.diagnosis.trial import Trial
from probes.diagnosis.verdict_rules import DO_NOT_STEER, HARMFUL, NOTHING, STEER
from records.tables.diagnosis import TRIED
from stats import Interval

SURE = ((2.5758 + 0.8416) / 2.5758) ** 2
"""Times the prompts that decide with a power of 80 % where the interval is one of 99 %."""

SEES = Evidence(0.5, 0.1, 0.4, vds_nats=0.2, student_vds_nats=0.1, content_nats=0.8, student_content_nats=0.2)
"""Both see, and gamma is 2."""
_BLIND = replace(SEES, vds_nats=0.0, content_nats=0.0)
_PRESENT = replace(SEES, content_nats=0.01)

CASES = {
    "teacher equals student": (NOTHING, replace(SEES, standard_nats=1e-9, language_nats=0.0, visual_nats=1e-8)),
    "blind teacher, seeing student": (HARMFUL, replace(_BLIND, visual_nats=0.1)),
    "blind teacher, blind student": (DO_NOT_STEER, replace(_BLIND, student_vds_nats=0.0, student_content_nats=0.0)),
    "teacher sees presence only, seeing student": (HARMFUL, _PRESENT),
    "teacher sees presence only, blind student": (DO_NOT_STEER, replace(_PRESENT, student_content_nats=0.0)),
    "student looks harder than teacher": (DO_NOT_STEER, replace(SEES, student_content_nats=1.7)),
    "gap in language": (DO_NOT_STEER, replace(SEES, visual_nats=0.02)),
    "no gap in language": (DO_NOT_STEER, replace(SEES, language_nats=0.003)),
    "seeing teacher, blind student": (STEER, replace(SEES, student_content_nats=0.001)),
    "both see": (STEER, SEES),
}
"""By the rule that alone holds, the verdict and the evidence."""
WITHOUT_STEERING = [name for name, (verdict, _) in CASES.items() if verdict != STEER]

_LAMBDAS = [(0.01, "detached"), (0.01, "frozen"), (0.1, "detached"), (1.0, "detached")]
ORDER = [(gamma, *rest) for gamma in (2.0, 1.0) for rest in _LAMBDAS]
ORDER += [(0.0, 0.1, "detached"), (0.0, 1.0, "detached")]
"""The gamma, lambda and prior that a trial of `SEES` tries, in this order."""
MARGIN = 0.1
BELOW, NEAR, ABOVE = Interval(-0.4, -0.2, -0.3), Interval(-0.05, 0.05, 0.0), Interval(0.2, 0.4, 0.3)
"""Surely lower than standard by more than the margin; surely within it; surely above."""
UNSURE = Interval(-0.15, 0.25, 0.05)


def forecast(detached, attached, stop=inf):
    """Return `SEES` with a forecast: by prior the gamma from which language rises, and the lambda that stops it.

    None stands for a forecast that cannot tell.
    """
    stops = {(prior, 0.25 * n): stop for prior in ("detached", "attached") for n in range(17) if stop is not None}
    rises = {"detached": detached, "attached": attached}
    rises = {prior: rise for prior, rise in rises.items() if rise is not None}
    return replace(SEES, has_forecast=True, gamma_rise=rises, lambda_stop=stops)


def setting(gamma, lambda_, *intervals, prior="detached"):
    """Return a setting that was tried; the intervals are those of the standard, visual and language loss."""
    differences = {loss: Difference(interval, MARGIN) for loss, interval in zip(TRIED, intervals, strict=True)}
    return Tried(gamma, lambda_, prior, differences)


def passing(gamma, lambda_, prior="detached"):
    gains = (BELOW, NEAR) if gamma else (NEAR, BELOW)
    return setting(gamma, lambda_, NEAR, *gains, prior=prior)


def failing(gamma, lambda_, prior="detached"):
    return setting(gamma, lambda_, NEAR, BELOW, ABOVE, prior=prior)


def undecided(gamma, lambda_, prior="detached"):
    return setting(gamma, lambda_, UNSURE, BELOW, BELOW, prior=prior)


def tried(*settings):
    """Return `SEES` with a trial of these settings."""
    return replace(SEES, trial=Trial(4, 3e-4, list(settings)))
