"""The verdict of a diagnosis by its facts: should this student be steered by this teacher? Before any step is tried.

A table of condition, verdict and reason. Where it says to steer, the trial decides: see
`probes.diagnosis.recommendation`. Rules are read from the top, and the first whose condition holds counts. Thresholds
are choices of this project.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from probes.diagnosis.evidence import BLIND_NATS, NO_LANGUAGE_GAP, Evidence

STEER, DO_NOT_STEER, UNDECIDED = "steer", "do not steer", "undecided"
HARMFUL, NOTHING = "harmful", "nothing to distil"

SAME_NATS = 1e-6  # a standard loss up to which two models are one; of the mean over tokens
AHEAD_SHARE = 1 / 3  # of the looking: a teacher with less looks half as hard as the student
LANGUAGE_SHARE = 0.25  # of the gap: with a smaller visual part there is little to steer to


@dataclass(frozen=True)
class VerdictRule:
    """A rule: the reason is a format of the evidence `f`."""

    name: str
    when: Callable[[Evidence], bool]
    verdict: str
    objective: str
    reason: str


VERDICT_RULES: Sequence[VerdictRule] = (
    VerdictRule(
        "teacher equals student",
        lambda f: max(f.standard_nats, f.visual_nats, f.language_nats) <= SAME_NATS,
        NOTHING,
        "none",
        "standard, visual and language loss: {f.standard_nats:.2g}, {f.visual_nats:.2g}, {f.language_nats:.2g} nats",
    ),
    VerdictRule(
        "blind teacher, seeing student",
        lambda f: f.teacher_is_blind and f.student_vds_nats > BLIND_NATS,
        HARMFUL,
        "standard",
        "the teacher is blind (VDS {f.vds_nats:.2g} nats), so the visual loss, {f.visual_nats:.2g} nats, is the"
        " student's own dependence on the picture, {f.student_vds_nats:.2g}: steering would make the student stop"
        " looking",
    ),
    VerdictRule(
        "blind teacher, blind student",
        lambda f: f.teacher_is_blind,
        DO_NOT_STEER,
        "standard",
        "neither looks (VDS {f.vds_nats:.2g} and {f.student_vds_nats:.2g} nats): there is nothing to steer to",
    ),
    VerdictRule(
        "teacher sees presence only, seeing student",
        lambda f: f.sees_presence_only and f.student_content_nats > BLIND_NATS,
        HARMFUL,
        "standard",
        "the teacher reacts to the presence of a picture only: another prompt's moves it by {f.content_nats:.2g} nats,"
        " of a VDS of {f.vds_nats:.2g}; steering would make the student stop telling pictures apart"
        " ({f.student_content_nats:.2g} nats)",
    ),
    VerdictRule(
        "teacher sees presence only, blind student",
        lambda f: f.sees_presence_only,
        DO_NOT_STEER,
        "standard",
        "the teacher reacts to the presence of a picture only: another prompt's moves it by {f.content_nats:.2g} nats,"
        " of a VDS of {f.vds_nats:.2g}",
    ),
    VerdictRule(
        "student looks harder than teacher",
        lambda f: f.looking_share < AHEAD_SHARE,
        DO_NOT_STEER,
        "standard",
        "the picture moves the teacher by {f.teacher_looks_nats:.2g} nats and the student by"
        " {f.student_looks_nats:.2g}: steering would mostly undo the student's looking; take another teacher",
    ),
    VerdictRule(
        "gap in language",
        lambda f: f.visual_share < LANGUAGE_SHARE,
        DO_NOT_STEER,
        "standard",
        "of the gap {f.visual_share:.0%} is visual ({f.visual_nats:.2g} nats, and {f.language_nats:.2g} of"
        " language): standard distillation first, then diagnose again",
    ),
    VerdictRule(
        "no gap in language",
        lambda f: 1.0 - f.visual_share <= NO_LANGUAGE_GAP,
        DO_NOT_STEER,
        "standard",
        "of the gap {f.visual_share:.1%} is visual ({f.language_nats:.2g} nats of language loss): without a gap in"
        " language the steered gradient is standard's times 1 + gamma, which changes nothing under Adam",
    ),
    VerdictRule(
        "seeing teacher, blind student",
        lambda f: f.student_is_blind,
        STEER,
        "vgs-lp",
        "the student hardly looks ({f.student_looks_nats:.2g} nats) where the teacher does"
        " ({f.teacher_looks_nats:.2g}); of the gap {f.visual_share:.0%} is visual",
    ),
    VerdictRule(
        "both see",
        lambda f: True,
        STEER,
        "vgs-lp",
        "the teacher looks ({f.teacher_looks_nats:.2g} nats, the student {f.student_looks_nats:.2g}), and of the gap"
        " {f.visual_share:.0%} is visual",
    ),
)


def verdict_rule(evidence: Evidence) -> VerdictRule:
    """Return the first of `VERDICT_RULES` that holds."""
    return next(rule for rule in VERDICT_RULES if rule.when(evidence))
