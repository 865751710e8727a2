"""Claims about three special cases: a blind teacher, an equation as printed, and eta under Adam."""

from study.claims.angle_statistics import ratio_of_norms
from study.claims.claim import NATS, POINTS, RATIO, Above, Claim, Statement, Within
from study.claims.statements import points, visual_tokens
from study.claims.training_statistics import ALL_TOKENS, clipped, loss

SPECIAL_CLAIMS = (
    Claim(
        title="With a blind teacher VGS reduces to standard distillation",
        paper="A blind teacher leaves nothing to steer by. (By its Eq. 10 and 11 the visual loss is not 0.)",
        statements=(
            Statement(
                "|g_vis| / |g_std| (root mean squares over tokens)",
                RATIO,
                Within(0, 0.05),
                "angles_blind",
                ratio_of_norms("visual", "standard"),
            ),
            points("vgs", "standard", Within(-2, 2), record="study_blind"),
        ),
        explanation=(
            "With a blind teacher q* = p_S(.|x), by Eq. 10: the visual loss is then the student's own dependence on "
            "the picture, KL(p_S(.|I,x) || p_S(.|x)), and its gradient makes a seeing student stop looking."
        ),
        note=(
            "Accuracy cannot tell the two apart here: standard distillation of a blind teacher already takes the "
            "student from 64 to about 34 % of the scenes that need the picture, which is what is left without looking."
        ),
    ),
    Claim(
        title="Does Eq. 21 as printed do what the gated Eq. 11 does?",
        paper="Eq. 21 prints KL(p_S(.|x) || q*); the text of Section 7 fits the gated Eq. 11.",
        statements=(
            points("language-steering-printed", "language-steering", Within(-2, 2)),
            visual_tokens("visual", "language-steering-printed", "language-steering", Within(-0.05, 0.05)),
        ),
        explanation=(
            "lambda is 0.01: either term is small beside the two that it is added to, and over 150 steps at a large "
            "rate small differences grow."
        ),
        ours=True,
    ),
    Claim(
        title="Is a constant eta without effect under Adam where no clip binds?",
        paper="Eq. 15 scales the loss to the length of the standard gradient: 0.41 for 2B, at gamma 2.",
        statements=(
            Statement(
                "vgs-lp-unclipped-eta minus vgs-lp-unclipped, visual loss of all tokens",
                NATS,
                Within(-0.005, 0.005),
                "study_eta",
                loss("vgs-lp-unclipped-eta", "vgs-lp-unclipped", "visual", ALL_TOKENS),
            ),
            points("vgs-lp-unclipped-eta", "vgs-lp-unclipped", Within(-1, 1), record="study_eta"),
            Statement(
                "share of steps that the clip shortens, vgs-lp minus standard",
                POINTS,
                Above(0),
                "study",
                clipped("vgs-lp", "standard"),
                "why both arms lack a clip",
            ),
        ),
        explanation=(
            "Adam divides the factor out, except for its epsilon and for lambda's term, which eta does not scale. And "
            "rollouts are sampled: as soon as one token is drawn otherwise, the two runs part. On fixed rollouts a "
            "test finds the update the same to 1e-4 (tests/train/test_step.py)."
        ),
        note=(
            "Both arms lack a gradient clip. With a clip a constant eta does act: it shortens the gradient before the "
            "clip does, which binds in nearly every steered step and in less than half of the standard ones."
        ),
        ours=True,
    ),
)
"""A blind teacher, an equation as printed, and eta under Adam."""
