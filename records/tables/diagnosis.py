"""Tables that `probes.diagnose` adds to those of `probes.angles`, `probes.layers` and `probes.sensitivity`.

Intervals (low, high) are 95 % bootstrap intervals over prompts, missing where there is none.
"""

from typing import Final

from records.columns import DIVERGENCE_WORDS, POSITION, PRIOR, PROMPT_ID, ROLLOUT_ID
from records.table import Table, by_name, png, real, text, whole, yes_no
from records.tables.forecast import GAMMA, LAMBDA

MEANS: Final = ("vds", "student_vds", "kl_standard", "kl_language", "kl_visual")
TRIED: Final = ("standard", "visual", "language")
"""The losses whose change a trial measures."""
CLASSES: Final = ("format", "answer", "number", "function", "content")

CONTENT: Final = Table(
    "content",
    "One row for each token of a response whose prompt has a partner, whose picture is shown instead.",
    "probes.diagnose",
    columns=(
        PROMPT_ID,
        text("partner_id", "Name of the prompt whose picture was shown instead"),
        ROLLOUT_ID,
        POSITION,
        real("teacher_nats", "KL of the teacher with the right picture to itself with the partner's"),
        real("student_nats", "KL of the student with the right picture to itself with the partner's"),
    ),
)

PICTURE_ANSWERS: Final = Table(
    "picture_answers",
    "One row for each model, view and prompt with a picture and an answer: a greedy answer, judged.",
    "probes.diagnose",
    columns=(
        text("side", "Which model answers: teacher or student"),
        yes_no("with_picture", "Whether the picture is shown; else the text view stands in its place"),
        PROMPT_ID,
        yes_no("correct", "Whether the answer is right"),
    ),
)

PICTURES: Final = Table(
    "pictures",
    "One row for each response that the report shows.",
    "probes.diagnose",
    columns=(ROLLOUT_ID, PROMPT_ID, png("picture", "PNG of the prompt's pictures, side by side")),
)

TOKEN_CLASSES: Final = Table(
    "token_classes",
    "One row for each class of tokens, of prompts with a picture: where the losses lie.",
    "probes.diagnose",
    format="csv",
    columns=(
        text("token_class", f"Class by the rules of `probes.diagnosis.token_classes`: {', '.join(CLASSES)}"),
        whole("n_tokens", "Number of tokens"),
        real("token_share", "Share of all tokens of prompts with a picture"),
        *(real(f"{name}_mean_nats", f"Mean {DIVERGENCE_WORDS[name]}") for name in MEANS),
        real("standard_share", "Share of the sum of the standard loss over all classes"),
        real("visual_share", "Share of the sum of the visual loss over all classes"),
    ),
)

TRIAL: Final = Table(
    "trial",
    "One row for each setting whose steps were taken, VDS bin and loss; standard distillation (both 0) first.",
    "probes.diagnose",
    format="csv",
    columns=(
        GAMMA,
        LAMBDA,
        PRIOR,
        whole("steps", "Number of steps"),
        real("lr", "Learning rate of the steps"),
        text("bin", "high (the upper three tenths of the VDS bins) or all"),
        text("loss", f"Loss: {', '.join(TRIED)}"),
        whole("n_tokens", "Number of tokens in the bin"),
        real("change_nats", "Mean change of the bin's tokens, on prompts that made no step"),
        real("low_nats", "Lower end of the interval of the change"),
        real("high_nats", "Upper end of the interval of the change"),
        real("against_standard_nats", "The change minus that of as many steps of standard distillation"),
        real("against_standard_low_nats", "Lower end of the 99 % interval of that difference, by Student's t"),
        real("against_standard_high_nats", "Upper end of the same interval"),
        real("margin_nats", "A difference up to which the loss counts as standard's: a tenth of what a token moves"),
        text("verdict", "passes, undecided, or why not; empty for standard distillation"),
    ),
)

FINDINGS: Final = Table(
    "findings",
    "One row for each measured quantity, ordered by question.",
    "probes.diagnose",
    format="csv",
    columns=(
        text("question", "Question that the quantity answers"),
        text("measure", "Name of the quantity"),
        text("unit", "Unit of the value; empty for a number without one"),
        real("value", "Value of the quantity"),
        real("low", "Lower end of its interval"),
        real("high", "Upper end of its interval"),
        text("verdict", "A word or two; empty if the number stands for itself"),
        text("reason", "Reason for the verdict, or what the number rests on"),
    ),
)

RECOMMENDATION: Final = Table(
    "recommendation",
    "One row for each setting of the recommended training.",
    "probes.diagnose",
    format="csv",
    columns=(
        text("setting", "verdict, objective, gamma, lambda, prior or command, in this order"),
        text("choice", "Recommended value"),
        text("reason", "Reason for the choice"),
    ),
)

TABLES: Final = by_name(CONTENT, PICTURE_ANSWERS, PICTURES, TOKEN_CLASSES, TRIAL, FINDINGS, RECOMMENDATION)
