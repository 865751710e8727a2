"""Tables of `study.effects`: a study, which trains several arms with several seeds each.

`rollouts` names the responses that a loss is measured on. `training`: those of the step, in bins with the edges of
step 0. `fixed`: the first student's on held-out prompts, in bins of their own. `own`: the present student's on the same
prompts, in the same bins as `fixed`.
"""

from typing import Final

from records.columns import ANGLE_WORDS, NULL_ANGLES, OBJECTIVES, PROMPT_ID, sentence
from records.journal_lines import LOSSES, NULL_TOKENS, PHASES
from records.table import Table, by_name, real, text, whole, yes_no

ALL_BINS: Final = -1
MEASURED: Final = ("loss", "response_tokens", "truncated_share", "reward", "banned_mass", "entropy_nats")
UPDATED: Final = ("gradient_norm", "eta")
AUTOMATIC: Final = ("gamma", "lambda", "unlearnt_nats")
"""Columns of runs that set their own strengths."""
_STEP_WORDS: Final = {
    "loss": "Loss that the step minimises",
    "response_tokens": "Mean number of tokens in a response",
    "truncated_share": "Share of responses cut at the greatest length",
    "reward": "Mean reward of the prompts whose answer is known: 1 if right, else 0",
    "banned_mass": "Mean probability of ids that sampling bans: pictures and rows of padding",
    "entropy_nats": "Mean entropy of the student's image view",
    "gradient_norm": "Norm of the gradient before clipping",
    "eta": "Factor of the steered loss; with matched rewards, of the standard loss",
    "gamma": "Strength of the steering in an automatic run",
    "lambda": "Strength of the preservation term in an automatic run",
    "unlearnt_nats": "Language loss minus that of the first student, over tokens above the VDS quantile",
}

NULL_COLUMNS: Final = {
    (angle, tokens, name): f"{tokens}_{name}"
    for angle in NULL_ANGLES
    for tokens in NULL_TOKENS
    for name in ("minus_null", "minus_null_error")
}
"""Of a monitor: what a response's angle has beyond its null, by angle, tokens and statistic; the middle of a column."""
_NULL_WORDS: Final = {
    "minus_null": "Mean over responses, less that of unrelated responses,",
    "minus_null_error": "Standard error over responses of the same difference",
}
_TOKEN_WORDS: Final = {"all": "all tokens", "upper": "tokens of the upper VDS bins"}

RUN: Final = (text("arm", "Name of the arm"), whole("seed", "Seed of the run"))
STEP: Final = whole("step", "Number of updates before the measurement")
GROUP: Final = text("group", "Dependency of the prompts on the picture: high, low or text")

CURVES: Final = Table(
    "curves",
    "One row for each run, step, kind of rollouts and VDS bin: the losses.",
    "study.effects",
    columns=(
        *RUN,
        STEP,
        text("rollouts", "Responses that the loss is measured on: training, fixed or own"),
        whole("bin", "VDS bin, 0 the least visual; -1 for all tokens together"),
        *(real(f"{loss}_nats", f"Mean {loss} loss of the tokens") for loss in LOSSES),
    ),
)

STEPS: Final = Table(
    "steps",
    "One row for each run and update.",
    "study.effects",
    columns=(
        *RUN,
        STEP,
        yes_no("skipped", "Whether a loss or gradient was not finite, so that the weights stayed as they were"),
        *(real(name, _STEP_WORDS[name]) for name in MEASURED + UPDATED),
        *(real(f"{phase}_seconds", f"Time of the phase {phase}") for phase in PHASES),
        *(real(name, _STEP_WORDS[name], optional=True) for name in AUTOMATIC),
    ),
)

EVALUATIONS: Final = Table(
    "evaluations",
    "One row for each run, evaluation and dependency group: the accuracy on held-out prompts.",
    "study.effects",
    columns=(
        *RUN,
        STEP,
        GROUP,
        whole("n_prompts", "Number of held-out prompts in the group"),
        real("correct_share", "Share of greedy answers that are right"),
        real("response_tokens", "Mean number of tokens in the present student's responses, over all groups"),
    ),
)

GRADIENTS: Final = Table(
    "gradients",
    "One row for each run, measured step and scope or parameter group.",
    "study.effects",
    columns=(
        *RUN,
        STEP,
        text("scope", "Parameters whose gradients count: all, language_model, or a parameter group"),
        *(real(f"norm_{name}", f"Norm of the {name} gradient of the step's batch") for name in OBJECTIVES),
        *(
            real(f"{angle}_deg", f"{sentence(words)}; missing if a gradient is 0")
            for angle, words in ANGLE_WORDS.items()
        ),
        real("eta", "|g_std| / |g_std + gamma g_vis| over all parameters; of a monitor", optional=True),
        *(
            real(f"{angle}_{column}_deg", f"{_NULL_WORDS[name]} at {_TOKEN_WORDS[tokens]}: {ANGLE_WORDS[angle]}", True)
            for (angle, tokens, name), column in NULL_COLUMNS.items()
        ),
    ),
)

VERDICTS: Final = Table(
    "verdicts",
    "One row for each run and scene that the run answered at the end.",
    "study.effects",
    columns=(
        *RUN,
        GROUP,
        text("task", "Task of the scene"),
        PROMPT_ID,
        yes_no("correct", "Whether the greedy answer is right"),
        whole("n_tokens", "Number of tokens in the answer"),
        yes_no("truncated", "Whether the length limit cut the answer"),
    ),
)

EFFECTS: Final = Table(
    "effects",
    "One row for each quantity and pair of arms: how far they are apart, and whether the difference counts.",
    "study.effects",
    format="csv",
    columns=(
        text("arm", "Name of the arm"),
        text("against", "Arm that it is compared with"),
        text("quantity", "correct, a share, or a loss in nats on the fixed rollouts after the last step"),
        text("where", "For correct the group of scenes; for a loss all or bins 7-9"),
        text("kind", "primary, one of the contrasts that `study.rules` names, or exploratory"),
        whole("n_seeds", "Number of seeds of the arm"),
        whole("n_against", "Number of seeds of the other arm; 1 for the untrained student, which is a constant"),
        real("mean", "Mean of the arm"),
        real("mean_against", "Mean of the other arm"),
        real("sd", "SD of the arm over seeds, with the prior below 6 seeds; missing for one seed without a prior"),
        real("sd_against", "The same of the other arm"),
        real("difference", "Mean of the arm minus mean of the other"),
        real("low", "Lower end of its 95 % interval over seeds, by Welch's t; unadjusted"),
        real("high", "Upper end of the same interval"),
        real("least", "Least seed of the arm minus mean of the other"),
        real("greatest", "Greatest seed of the arm minus mean of the other"),
        real("margin", "Difference below which arms are equivalent"),
        real("detectable", "Smallest true difference that these runs find with a chance of 80 %"),
        real("published", "Difference that the paper publishes; missing if it has none"),
        real("p", "Two-sided p-value of Welch's t, unadjusted"),
        real("p_holm", "The same of a primary contrast, adjusted by Holm; missing for an exploratory one"),
        real("p_equivalent", "p-value of the two one-sided tests of equivalence, the larger of the two"),
        real("power", "Chance that these runs find the published difference; missing if there is none"),
        real("seeds_needed", "Seeds in each arm that find a difference of the margin with a chance of 80 %"),
        text(
            "counts_as",
            "better, worse, lower, higher, equivalent, undecided or not judged, by the rule in `study.rules`",
        ),
    ),
)

TABLES: Final = by_name(CURVES, STEPS, EVALUATIONS, GRADIENTS, VERDICTS, EFFECTS)
