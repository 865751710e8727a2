"""Tables of `probes.angles`, `probes.layers` and `probes.norms`: tokens, gradients, and what follows from them.

A unit is what one gradient belongs to: a token, the bin of a trajectory, or the bin of the whole corpus. A unit of
several tokens has no single prompt, response or position; there a table holds "" or -1. Intervals (low, high) are 95 %
bootstrap intervals over prompts.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Final

from records.columns import (
    ANGLE_WORDS,
    ANSWER,
    BIN,
    BIN_LABEL,
    DEPENDENCY,
    DIVERGENCE_WORDS,
    EFFECTIVE,
    GROUP,
    HAS_IMAGE,
    INTERVAL,
    LAYER_ANGLES,
    NULL_ANGLES,
    NUMBERED_BIN,
    OBJECTIVES,
    POSITION,
    PROMPT,
    PROMPT_ID,
    ROLLOUT_ID,
    SCOPE,
    TASK,
    TOKEN_ID,
    TOKEN_TEXT,
    sentence,
)
from records.table import Column, Table, by_name, real, text, whole, yes_no

_MEAN_DIVERGENCES: Final = ("kl_standard", "kl_language", "kl_visual", "student_vds")
_ENDS: Final = {
    "mean": "Mean",
    "low": "Lower end of the interval of the mean",
    "high": "Upper end of the same interval",
}

_ERRORS: Final = {"mean": "Mean", "max": "Greatest"}
_POOLED: Final = " over units; for signed-bins the pooled one, read from the sum of their Gram matrices"

CHECKPOINT: Final = whole("checkpoint", "Place of the checkpoint in the series, from 0")
UNIT_ID: Final = whole("unit_id", "Number of the unit, from 0")
N_UNITS: Final = whole("n_units", "Number of units that were measured")
N_SCORED: Final = whole("n_tokens", "Number of all scored tokens, measured or not")

ROLLOUTS: Final = Table(
    "rollouts",
    "One row for each response that was sampled.",
    "probes.angles",
    columns=(
        ROLLOUT_ID,
        PROMPT_ID,
        TASK,
        DEPENDENCY,
        HAS_IMAGE,
        PROMPT,
        text("response", "Text of the response"),
        ANSWER,
        yes_no("correct", "Whether the response gives the expected answer; missing if no answer is known"),
        yes_no("boxed", "Whether the response has an answer in a box; without one it is wrong", optional=True),
        whole("n_tokens", "Number of tokens in the response"),
        yes_no("truncated", "Whether the length limit cut the response before its end token"),
    ),
)

TOKENS: Final = Table(
    "tokens",
    "One row for each token of each response.",
    "probes.angles",
    columns=(
        PROMPT_ID,
        ROLLOUT_ID,
        DEPENDENCY,
        HAS_IMAGE,
        POSITION,
        TOKEN_ID,
        TOKEN_TEXT,
        real("vds_nats", sentence(DIVERGENCE_WORDS["vds"])),
        real("student_vds_nats", sentence(DIVERGENCE_WORDS["student_vds"])),
        BIN,
        *(
            real(f"{name}_nats", sentence(DIVERGENCE_WORDS[name]))
            for name in ("kl_standard", "kl_language", "kl_visual")
        ),
        real("entropy_nats", "Entropy of the student's image view at the token", optional=True),
    ),
)

UNITS: Final = Table(
    "units",
    "One row for each unit and scope.",
    "probes.angles",
    columns=(
        UNIT_ID,
        text(
            "unit",
            "Kind of unit: token, trajectory-bin, corpus-bin or signed-bin; angles of the last are of one draw of its"
            " signs, and only the sum over a bin has a meaning",
        ),
        PROMPT_ID,
        ROLLOUT_ID,
        POSITION,
        NUMBERED_BIN,
        whole("n_tokens", "Number of tokens in the unit"),
        SCOPE,
        *(real(f"norm_{name}", f"Norm of the {name} gradient") for name in OBJECTIVES),
        *(
            real(f"{angle}_deg", f"{sentence(words)}; missing if a gradient is 0")
            for angle, words in ANGLE_WORDS.items()
        ),
    ),
)

GRAMS: Final = Table(
    "grams",
    "One row for each unit and parameter group.",
    "probes.angles",
    columns=(
        UNIT_ID,
        GROUP,
        *(
            real(f"gram_{a}_{b}", f"Product of the {a} and the {b} gradient, over the group's parameters")
            for a, b in combinations_with_replacement(OBJECTIVES, 2)
        ),
    ),
)


def _statistics(angle: str) -> Iterator[Column]:
    """Describe the columns of an angle in `bins`."""
    words = ANGLE_WORDS[angle]
    yield real(f"{angle}_mean_deg", f"Mean {words}{_POOLED}")
    yield real(f"{angle}_std_deg", "Standard deviation over the units; for signed-bins the standard error")
    yield real(f"{angle}_low_deg", "Lower end of the interval of the mean or the pooled angle")
    yield real(f"{angle}_high_deg", "Upper end of the same interval")
    yield real(f"{angle}_obtuse_share", "Share of units with more than 90 degrees; missing for signed-bins")
    if angle in NULL_ANGLES:
        yield real(f"{angle}_null_mean_deg", "Mean of the same angle between gradients of unrelated units")
        yield real(f"{angle}_null_std_deg", "Standard deviation of the angle between unrelated units")


BINS: Final = Table(
    "bins",
    "One row for each scope and VDS bin.",
    "probes.angles",
    format="csv",
    columns=(
        SCOPE,
        NUMBERED_BIN,
        N_UNITS,
        N_SCORED,
        real("vds_mean_nats", "Mean VDS of the bin's tokens"),
        real("vds_low_nats", "Least VDS in the bin"),
        real("vds_high_nats", "Greatest VDS in the bin"),
        *(real(f"{name}_mean_nats", f"Mean {DIVERGENCE_WORDS[name]}") for name in _MEAN_DIVERGENCES),
        *(
            real(
                f"effective_units_{name}",
                f"Number of units that share the squared norm of the {name} gradient e: (sum e)^2 / sum e^2",
            )
            for name in EFFECTIVE
        ),
        *(column for angle in ANGLE_WORDS for column in _statistics(angle)),
    ),
)

PRECISION: Final = Table(
    "precision",
    "One row for each VDS bin: what a sample of tokens and units becomes in a finer dtype.",
    "probes.angles",
    format="csv",
    columns=(
        NUMBERED_BIN,
        whole("n_tokens", "Number of tokens that were scored again"),
        real("same_bin_share", "Share of these tokens whose VDS stays within the edges of their bin"),
        whole("n_units", "Number of units that were measured again"),
        *(
            real(f"{angle}_shift_{statistic}_deg", f"{word} absolute difference of the {words}")
            for angle, words in ANGLE_WORDS.items()
            for statistic, word in {"mean": "Mean", "max": "Greatest"}.items()
        ),
    ),
)

SKETCH_ERROR: Final = Table(
    "sketch_error",
    "One row for each scope, of layers also for each parameter group: how far a sample of the units that `--sketch`"
    " estimates are from their exact values.",
    "probes.angles",
    format="csv",
    columns=(
        replace(CHECKPOINT, optional=True),
        text("part", "Scope, or parameter group"),
        whole("n_units", "Number of units that were measured exactly, too"),
        *(
            real(f"{angle}_error_{statistic}_deg", f"{word} absolute error of the {words} of a unit")
            for angle, words in ANGLE_WORDS.items()
            for statistic, word in _ERRORS.items()
        ),
        *(
            real(
                f"norm_{name}_error_{statistic}_share",
                f"{word} error of the norm of the {name} gradient, as a share of it",
            )
            for name in OBJECTIVES
            for statistic, word in _ERRORS.items()
        ),
    ),
)

BIN_GRAMS: Final = Table(
    "bin_grams",
    "One row for each parameter group and pair of (bin, objective), for corpus-bins that were measured together.",
    "probes.angles",
    columns=(
        GROUP,
        whole("bin_a", "VDS bin of the first gradient"),
        text("objective_a", "Objective of the first gradient"),
        whole("bin_b", "VDS bin of the second gradient"),
        text("objective_b", "Objective of the second gradient"),
        real("product", "Product of the two gradients, over the group's parameters"),
    ),
)

LAYERS: Final = Table(
    "layers",
    "One row for each parameter group and VDS bin.",
    "probes.layers",
    format="csv",
    columns=(
        replace(GROUP, meaning="Parameter group, in the order from vision to output"),
        yes_no("in_language_model", "Whether the group belongs to the language model"),
        BIN_LABEL,
        N_UNITS,
        *(real(f"norm_{name}_mean", f"Mean norm of the {name} gradient in the group") for name in OBJECTIVES),
        *(
            real(f"share_{name}_mean", f"Mean share of the squared norm of the {name} gradient; groups add up to 1")
            for name in OBJECTIVES
        ),
        *(
            real(f"{angle}_{end}_deg", f"{_ENDS[end]}: {ANGLE_WORDS[angle]}{_POOLED if end == 'mean' else ''}")
            for angle in LAYER_ANGLES
            for end in INTERVAL
        ),
    ),
)

NORMS: Final = Table(
    "norms",
    "One row for each checkpoint, scope and VDS bin.",
    "probes.norms",
    format="csv",
    columns=(
        CHECKPOINT,
        text("name", "Name of the checkpoint"),
        SCOPE,
        BIN_LABEL,
        N_UNITS,
        N_SCORED,
        *(
            real(f"{name}_mean_nats", f"Mean {DIVERGENCE_WORDS[name]}")
            for name in ("vds", "student_vds", "kl_standard", "kl_language", "kl_visual")
        ),
        *(
            real(f"norm_{name}_{end}", f"{_ENDS[end]}: norm of the {name} gradient")
            for name in OBJECTIVES
            for end in INTERVAL
        ),
        real("norm_ratio_language_visual", "Mean norm of the language gradient divided by that of the visual one"),
        *(
            real(f"{angle}_{end}_deg", f"{_ENDS[end]}: {words}{_POOLED if end == 'mean' else ''}")
            for angle, words in ANGLE_WORDS.items()
            for end in INTERVAL
        ),
    ),
)

TABLES: Final = by_name(ROLLOUTS, TOKENS, UNITS, GRAMS, BINS, PRECISION, SKETCH_ERROR, BIN_GRAMS, LAYERS, NORMS)
