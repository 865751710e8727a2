"""The schema of what `probes.diagnose` writes beside the tables of `probes.angles`, `layers` and `sensitivity`:

    content.parquet      a row a response token whose prompt has a partner: the picture against another prompt's
    pictures.parquet     a row a response that the report shows: its prompt's pictures
    token_classes.csv    a row a class of tokens: where the losses lie
    trial.csv            a row a setting whose steps were taken, bin and loss: what they changed
    findings.csv         a row a thing measured, by question
    recommendation.csv   a row a setting: what is recommended, and why

low and high are 95 % intervals over prompts, missing where there are none. In `trial` a bin is `high` or `all`, as in
`records/forecast.py`.
"""

from typing import Final

import pyarrow as pa

from records.columns import BYTES, REAL, TEXT, WHOLE

MEANS: Final = ("vds", "student_vds", "kl_standard", "kl_language", "kl_visual")
TRIED: Final = ("standard", "visual", "language")
"""The losses whose change a trial measures."""
CLASSES: Final = ("format", "answer", "number", "function", "content")

CONTENT = {
    "prompt_id": TEXT,
    "partner_id": TEXT,  # whose picture was shown instead
    "rollout_id": WHOLE,
    "position": WHOLE,
    "teacher_nats": REAL,  # KL of the teacher with the right picture to itself with the partner's
    "student_nats": REAL,
}
PICTURES = {"rollout_id": WHOLE, "prompt_id": TEXT, "picture": BYTES}  # PNG, several side by side
TOKEN_CLASSES = {
    "token_class": TEXT,  # of prompts with a picture, by the rules of `probes.diagnosis.token_classes`
    "n_tokens": WHOLE,
    "token_share": REAL,
    **{f"{name}_mean_nats": REAL for name in MEANS},
    "standard_share": REAL,  # of the sum of the standard loss over all classes
    "visual_share": REAL,
}
TRIAL = {
    "gamma": REAL,  # of vgs-lp; standard distillation, with lambda 0, comes first
    "lambda": REAL,
    "prior": TEXT,
    "steps": WHOLE,
    "lr": REAL,
    "bin": TEXT,
    "loss": TEXT,
    "n_tokens": WHOLE,
    "change_nats": REAL,  # mean over the bin's tokens, on prompts that made no step
    "low_nats": REAL,
    "high_nats": REAL,
    "beside_standard_nats": REAL,  # the change, less that of as many steps of standard distillation
    "beside_standard_low_nats": REAL,
    "beside_standard_high_nats": REAL,
    "verdict": TEXT,  # of the setting: passes, or what is above standard; empty for standard
}
FINDINGS = {
    "question": TEXT,
    "measure": TEXT,
    "unit": TEXT,
    "value": REAL,
    "low": REAL,
    "high": REAL,
    "verdict": TEXT,  # a word or two, empty where the number stands for itself
    "reason": TEXT,
}
RECOMMENDATION = {
    "setting": TEXT,  # verdict, objective, gamma, lambda, prior, command, in this order
    "choice": TEXT,
    "reason": TEXT,
}

SCHEMAS: Final = {
    "content": pa.schema(CONTENT),
    "pictures": pa.schema(PICTURES),
    "token_classes": pa.schema(TOKEN_CLASSES),
    "trial": pa.schema(TRIAL),
    "findings": pa.schema(FINDINGS),
    "recommendation": pa.schema(RECOMMENDATION),
}
BY_EYE: Final = ("token_classes", "trial", "findings", "recommendation")
