"""The schema of what `probes.compare` writes: the same tokens, units and prompts before and after.

    token_changes.parquet  a row a response token
    unit_changes.parquet   a row a probed token and scope
    answers.parquet        a row a prompt that both answered
    examples.parquet       a row an answer whose verdict changed, with the picture
    changes.csv            a row a VDS bin: the losses
    angle_changes.csv      a row a scope and VDS bin: the angles
    accuracy_changes.csv   a row a group of prompts

A change is after less before, of the same thing; low and high are its 95 % interval over prompts. A bin is text: its
number, `all` for the bins together, or `text` for the tokens of prompts without a picture, which are in no bin.
"""

from typing import Final

import pyarrow as pa

from records.columns import ANGLES, BYTES, OBJECTIVES, REAL, TEXT, WHOLE, YES_NO

LOSSES: Final = ("kl_standard", "kl_language", "kl_visual", "student_vds")
SIDES: Final = ("before", "after")
PAIRED: Final = ("before_mean", "after_mean", "change_mean", "change_low", "change_high")

TOKEN_CHANGES = {
    "prompt_id": TEXT,
    "rollout_id": WHOLE,
    "dependency": TEXT,
    "has_image": YES_NO,
    "position": WHOLE,
    "token_id": WHOLE,
    "token_text": TEXT,
    "vds_nats": REAL,  # the teacher's, which bins are made of
    "bin": WHOLE,
    **{f"{loss}_{side}_nats": REAL for loss in LOSSES for side in SIDES},
}
UNIT_CHANGES = {
    "unit_id": WHOLE,
    "prompt_id": TEXT,
    "rollout_id": WHOLE,
    "position": WHOLE,
    "bin": WHOLE,
    "scope": TEXT,
    **{f"norm_{objective}_{side}": REAL for objective in OBJECTIVES for side in SIDES},
    **{f"{angle}_{side}_deg": REAL for angle in ANGLES for side in SIDES},
}
ANSWERS = {
    "prompt_id": TEXT,
    "task": TEXT,
    "dependency": TEXT,
    "has_image": YES_NO,
    "prompt": TEXT,
    "answer": TEXT,  # the one expected
    **{f"response_{side}": TEXT for side in SIDES},
    **{f"correct_{side}": YES_NO for side in SIDES},  # missing where no answer is known
}
EXAMPLES = {
    "prompt_id": TEXT,
    "verdict": TEXT,  # gained or lost
    "task": TEXT,
    "dependency": TEXT,
    "prompt": TEXT,
    "answer": TEXT,
    **{f"response_{side}": TEXT for side in SIDES},
    "picture": BYTES,  # PNG, several pictures side by side; missing where the prompt shows none
}
CHANGES = {
    "bin": TEXT,
    "n_tokens": WHOLE,
    "vds_mean_nats": REAL,
    **{f"{loss}_{statistic}_nats": REAL for loss in LOSSES for statistic in PAIRED},
}
ANGLE_CHANGES = {
    "scope": TEXT,
    "bin": TEXT,
    "n_units": WHOLE,
    **{f"{angle}_{statistic}_deg": REAL for angle in ANGLES for statistic in PAIRED},
}
ACCURACY_CHANGES = {
    "by": TEXT,  # all, dependency or task
    "name": TEXT,
    "n_prompts": WHOLE,  # whose answer is known
    **{f"accuracy_{statistic}_percent": REAL for statistic in PAIRED},
    "n_gained": WHOLE,  # wrong before, right after
    "n_lost": WHOLE,
}

SCHEMAS: Final = {
    "token_changes": pa.schema(TOKEN_CHANGES),
    "unit_changes": pa.schema(UNIT_CHANGES),
    "answers": pa.schema(ANSWERS),
    "examples": pa.schema(EXAMPLES),
    "changes": pa.schema(CHANGES),
    "angle_changes": pa.schema(ANGLE_CHANGES),
    "accuracy_changes": pa.schema(ACCURACY_CHANGES),
}
