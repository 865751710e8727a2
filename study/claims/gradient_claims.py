"""Claims about the gradients: their angles at the untrained student, and how they change over standard distillation."""

from stats.bins import bins_label
from study.claims.angle_statistics import between_angles, between_bins, from_null, mean_angle
from study.claims.claim import DEGREES, RATIO, Above, Apart, Below, Claim, Statement, Within
from study.claims.training_statistics import cosine, drift, eta, norm_ratio
from study.comparison import UPPER_BINS

_RECORD = "angles_second"
_LEAST, _REST = range(0, 3), range(0, UPPER_BINS.start)
_DETACHED, _ATTACHED = "angle_language_visual", "angle_language_visual_attached"
_RISE = f"mean angle of {bins_label(UPPER_BINS)} minus that of {bins_label(_LEAST)}"

GRADIENT_CLAIMS = (
    Claim(
        title="The language-visual angle grows with visual dependency by more than 10 degrees, q* attached",
        paper="It rises from about 60 degrees in the least visual bin to about 92 in the most (Fig. 3a).",
        statements=(Statement(_RISE, DEGREES, Above(10), _RECORD, between_bins(_ATTACHED, UPPER_BINS, _LEAST)),),
        explanation="On the first draw of prompts (record `angles`) this form showed the rise, from 52 to 95 degrees.",
    ),
    Claim(
        title="The language-visual angle grows with visual dependency by more than 10 degrees, q* detached",
        paper="It rises from about 60 degrees in the least visual bin to about 92 in the most (Fig. 3a).",
        statements=(Statement(_RISE, DEGREES, Above(10), _RECORD, between_bins(_DETACHED, UPPER_BINS, _LEAST)),),
        explanation=(
            "The paper does not say whether q* follows the student. With q* held fixed the angle is large in every "
            "bin, and there is less room to rise."
        ),
    ),
    Claim(
        title="Does the angle in the most visual bin differ from that of unrelated tokens?",
        paper="The paper reads about 92 degrees there as near-orthogonal objectives (Fig. 3a, Sec. 3.2).",
        statements=(
            Statement("bin 9 minus its null, attached", DEGREES, Apart(2), _RECORD, from_null(_ATTACHED, 9)),
            Statement("bin 9 minus its null, detached", DEGREES, Apart(2), _RECORD, from_null(_DETACHED, 9)),
        ),
        explanation=(
            "The difference is a few degrees, and so is the interval of one bin. As unrelated tokens are near 90 "
            "degrees too, an angle of about 92 does not by itself say that two objectives of one token are orthogonal."
        ),
        note=(
            "The null: the language gradient of one token against the visual gradient of another prompt's token in the "
            "same bin. Its pairs form chains, and their standard error takes them as independent."
        ),
        ours=True,
    ),
    Claim(
        title="Standard distillation stands equally far from both in the most visual bin",
        paper="It stands about 42 degrees from the visual gradient and about 50 from language (Fig. 3b, 3c).",
        statements=(
            Statement(
                "standard-language minus standard-visual, bin 9, attached",
                DEGREES,
                Within(-15, 15),
                _RECORD,
                between_angles("angle_standard_language", "angle_standard_visual_attached", (9,)),
            ),
            Statement(
                "standard-language minus standard-visual, bin 9, detached",
                DEGREES,
                Within(-15, 15),
                _RECORD,
                between_angles("angle_standard_language", "angle_standard_visual", (9,)),
            ),
        ),
        explanation=(
            "Standard is visual (detached) plus prior, exactly. Where the visual part is by far the longer, as on the "
            "most visual tokens here, standard lies along it."
        ),
    ),
    Claim(
        title="Is the prior gradient close to the language gradient?",
        paper="Standard would be a bisector of language and visual if it were so; the paper does not state it.",
        statements=(
            Statement(
                f"angle of prior and language, {bins_label(UPPER_BINS)}",
                DEGREES,
                Below(30),
                _RECORD,
                mean_angle("angle_prior_language", UPPER_BINS),
            ),
            Statement(
                f"angle of prior and language, {bins_label(_REST)}",
                DEGREES,
                Below(30),
                _RECORD,
                mean_angle("angle_prior_language", _REST),
            ),
        ),
        explanation=(
            "Both weigh the two models' disagreement without the picture, prior by the student's distribution with it, "
            "language by that without: where the picture changes that distribution, the two part."
        ),
        ours=True,
    ),
    Claim(
        title="Norms and angles stay put over standard distillation: one eta serves",
        paper="Norms and cosine of the two gradients are stable over training (Fig. 7); eta is a constant (Eq. 15).",
        statements=(
            Statement(
                "eta at gamma 2, last third over first", RATIO, Within(0.8, 1.25), "study", drift("standard", eta)
            ),
            Statement(
                "|g_vis| / |g_std|, last third over first",
                RATIO,
                Within(0.8, 1.25),
                "study",
                drift("standard", norm_ratio),
            ),
            Statement(
                "cosine of g_std and g_vis, last third minus first",
                RATIO,
                Within(-0.1, 0.1),
                "study",
                drift("standard", cosine, relative=False),
            ),
        ),
        explanation="A third of a run is few measurements, of 64 responses each, and the seeds differ.",
        note=(
            "Each measurement is of the 64 responses of a training step, other ones each time. The claim needs 512 "
            "fixed responses in each measurement: `python -m probes.norms` over a run's checkpoints."
        ),
    ),
)
