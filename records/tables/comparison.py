"""Tables of `probes.compare`: the same tokens, units and prompts before and after.

A change is after minus before, of the same token, unit or prompt. Intervals (low, high) are 95 % bootstrap intervals
over prompts.
"""

from typing import Final

from records.columns import (
    ANGLE_WORDS,
    ANGLES,
    ANSWER,
    BIN,
    DEPENDENCY,
    DIVERGENCE_WORDS,
    HAS_IMAGE,
    NUMBERED_BIN,
    OBJECTIVES,
    PICTURED_BIN_LABEL,
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
from records.table import Table, by_name, png, real, text, whole, yes_no
from records.tables.angles import UNIT_ID

LOSSES: Final = ("kl_standard", "kl_language", "kl_visual", "student_vds")
SIDES: Final = ("before", "after")
PAIRED: Final = {
    "before_mean": "Mean before",
    "after_mean": "Mean after",
    "change_mean": "Mean change",
    "change_low": "Lower end of the interval of the mean change",
    "change_high": "Upper end of the same interval",
}
"""The statistics of a change, each in words."""

TOKEN_CHANGES: Final = Table(
    "token_changes",
    "One row for each token of each response.",
    "probes.compare",
    columns=(
        PROMPT_ID,
        ROLLOUT_ID,
        DEPENDENCY,
        HAS_IMAGE,
        POSITION,
        TOKEN_ID,
        TOKEN_TEXT,
        real("vds_nats", f"{sentence(DIVERGENCE_WORDS['vds'])}; the bins are made of it"),
        BIN,
        *(
            real(f"{loss}_{side}_nats", f"{sentence(DIVERGENCE_WORDS[loss])}, {side}")
            for loss in LOSSES
            for side in SIDES
        ),
    ),
)

UNIT_CHANGES: Final = Table(
    "unit_changes",
    "One row for each measured token and scope.",
    "probes.compare",
    columns=(
        UNIT_ID,
        PROMPT_ID,
        ROLLOUT_ID,
        POSITION,
        NUMBERED_BIN,
        SCOPE,
        *(
            real(f"norm_{objective}_{side}", f"Norm of the {objective} gradient, {side}")
            for objective in OBJECTIVES
            for side in SIDES
        ),
        *(
            real(f"{angle}_{side}_deg", f"{sentence(words)}, {side}")
            for angle, words in ANGLE_WORDS.items()
            for side in SIDES
        ),
    ),
)

ANSWERS: Final = Table(
    "answers",
    "One row for each prompt that both students answered.",
    "probes.compare",
    columns=(
        PROMPT_ID,
        TASK,
        DEPENDENCY,
        HAS_IMAGE,
        PROMPT,
        ANSWER,
        *(text(f"response_{side}", f"Response {side}") for side in SIDES),
        *(
            yes_no(f"correct_{side}", f"Whether the response {side} is right; missing if no answer is known")
            for side in SIDES
        ),
    ),
)

EXAMPLES: Final = Table(
    "examples",
    "One row for each answer whose verdict changed, up to a number.",
    "probes.compare",
    columns=(
        PROMPT_ID,
        text("verdict", "gained: wrong before and right after; lost: the reverse"),
        TASK,
        DEPENDENCY,
        PROMPT,
        ANSWER,
        *(text(f"response_{side}", f"Response {side}") for side in SIDES),
        png("picture", "PNG of the prompt's pictures, side by side; missing without a picture"),
    ),
)

CHANGES: Final = Table(
    "changes",
    "One row for each VDS bin: how the losses changed.",
    "probes.compare",
    format="csv",
    columns=(
        PICTURED_BIN_LABEL,
        whole("n_tokens", "Number of tokens"),
        real("vds_mean_nats", "Mean VDS of the teacher"),
        *(
            real(f"{loss}_{statistic}_nats", f"{words}: {DIVERGENCE_WORDS[loss]}")
            for loss in LOSSES
            for statistic, words in PAIRED.items()
        ),
    ),
)

ANGLE_CHANGES: Final = Table(
    "angle_changes",
    "One row for each scope and VDS bin: how the angles changed.",
    "probes.compare",
    format="csv",
    columns=(
        SCOPE,
        PICTURED_BIN_LABEL,
        whole("n_units", "Number of measured tokens; an angle counts those that have it before and after"),
        *(
            real(f"{angle}_{statistic}_deg", f"{words}: {ANGLE_WORDS[angle]}")
            for angle in ANGLES
            for statistic, words in PAIRED.items()
        ),
    ),
)

ACCURACY_CHANGES: Final = Table(
    "accuracy_changes",
    "One row for each group of prompts: how the accuracy changed.",
    "probes.compare",
    format="csv",
    columns=(
        text("by", "What groups the prompts: all, dependency or task"),
        text("name", "Name of the group"),
        whole("n_prompts", "Number of prompts whose answer is known"),
        *(real(f"accuracy_{statistic}_percent", f"{words}: accuracy") for statistic, words in PAIRED.items()),
        whole("n_gained", "Number of answers that are wrong before and right after"),
        whole("n_lost", "Number of answers that are right before and wrong after"),
    ),
)

TABLES: Final = by_name(TOKEN_CHANGES, UNIT_CHANGES, ANSWERS, EXAMPLES, CHANGES, ANGLE_CHANGES, ACCURACY_CHANGES)
