"""The primary contrasts of `study.rules`, how far runs differ, and how fast the visual loss falls."""

from study.claims.claim import NATS, POINTS, RATIO, Above, Below, Claim, Region, Statement, Within
from study.claims.statements import SPREAD
from study.claims.training_statistics import Seeds, accuracy, mean_loss, primary_accuracy, sd_ratio
from study.rules import LOSS_MARGIN, PRIMARY_GROUP, PRIMARY_SEEDS, SPEED_ARMS, SPEED_FROM_SEED, SPEED_STEPS

_PRIMARY_NOTE = (
    "A primary contrast: Holm adjusts its p-value for all three, and seeds 0 to 7 decide. Seeds below 4 were seen "
    "before the rule, by their last weights; here the average of the last third of the weights is judged."
)
_OLD, _NEW = range(SPEED_FROM_SEED), range(SPEED_FROM_SEED, PRIMARY_SEEDS.stop)
_RECORD = "study_average"
"""The runs that are judged by the average of their last weights."""
_SEEN, _WITH_IT = "seen before the rule", "stands with the verdict"


def _speed(objective: str, region: Region, seeds: Seeds, shown: str = "") -> Statement:
    arm, other = SPEED_ARMS
    which = f"seeds {_NEW[0]} to {_NEW[-1]}" if seeds == _NEW else f"seeds below {SPEED_FROM_SEED}"
    words = f"{arm} minus {other}, mean {objective} loss over steps {SPEED_STEPS[0]} to {SPEED_STEPS[-1]}, {which}"
    return Statement(words, NATS, region, _RECORD, mean_loss(arm, other, objective, SPEED_STEPS, seeds), shown)


def _primary(arm: str, other: str) -> tuple[Statement, Statement]:
    """A primary contrast, and the same from the seeds that were not seen before the rule."""
    words = f"{arm} minus {other}, scenes {PRIMARY_GROUP}"
    new = Statement(
        f"{words}, seeds {_NEW[0]} to {_NEW[-1]} alone",
        POINTS,
        Above(0),
        _RECORD,
        accuracy(arm, other, PRIMARY_GROUP, _NEW),
        "unseen before the rule",
    )
    return Statement(words, POINTS, Above(0), _RECORD, primary_accuracy(arm, other)), new


PRIMARY_CLAIMS = (
    Claim(
        title="Is steering by gamma 2 better than standard where the picture is needed?",
        paper="Visual steering is 2.36 points above standard (Tab. 1), with lambda 0.01.",
        statements=_primary("vgs", "standard"),
        explanation="Steering without preservation unlearns language: its language loss ends above that of standard.",
        note=_PRIMARY_NOTE,
        ours=True,
    ),
    Claim(
        title="Is steering by gamma 2 with a frozen prior better than standard where the picture is needed?",
        paper="The paper has no arm whose prior p_S(.|x) is that of the untrained student.",
        statements=_primary("vgs-frozen", "standard"),
        explanation=(
            "Unlearnt language is no reason: the language loss is equivalent to that of standard. By the identity of "
            "docs/theory.md the student follows another teacher, whose prior is damped."
        ),
        note=_PRIMARY_NOTE,
        ours=True,
    ),
    Claim(
        title="With lambda 1, is it the steering that helps, and not the preserved language alone?",
        paper="The paper has no arm that preserves language and does not steer.",
        statements=_primary("vgs-lp-lambda-1", "vgs-lp-gamma-0-lambda-1"),
        explanation=(
            "Both arms keep language. What gamma adds to it lowers neither the standard nor the visual loss by an "
            "amount that these seeds show. With a clip of 1.0 the two arms get unequal amounts of preservation."
        ),
        note=_PRIMARY_NOTE,
        ours=True,
    ),
    Claim(
        title="Does steering without preservation make runs unstable?",
        paper="The paper trains one seed of each arm.",
        statements=(
            Statement(
                "SD over seeds of accuracy, scenes high: vgs and vgs-lp over standard and the arms with lambda 1",
                RATIO,
                Above(1),
                "study",
                sd_ratio(("vgs", "vgs-lp"), ("standard", "vgs-lp-lambda-1", "vgs-lp-gamma-0-lambda-1"), PRIMARY_GROUP),
            ),
        ),
        explanation=SPREAD,
        note="Asked after seeds 0 to 3 had been seen. The prior SDs of the rules come from the same seeds.",
        ours=True,
    ),
    Claim(
        title="VGS lowers the visual loss faster than standard distillation",
        paper="The visual loss falls faster with VGS (Fig. 4a).",
        statements=(
            _speed("visual", Below(0), _NEW),
            _speed("standard", Within(-LOSS_MARGIN, LOSS_MARGIN), _NEW, _WITH_IT),
            _speed("visual", Below(0), _OLD, _SEEN),
            _speed("standard", Within(-LOSS_MARGIN, LOSS_MARGIN), _OLD, _SEEN),
        ),
        explanation=SPREAD,
        note=(
            "The claim is about speed, so the mean over the run is judged, on the rollouts of training. Only seeds run "
            "after this rule decide. In the older seeds the visual loss is lower in each, and the standard loss, which "
            "distillation is for, is higher."
        ),
    ),
)
"""What the rules name."""
