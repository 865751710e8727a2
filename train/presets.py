"""What the flags of `config` are by default: for the bundled pair, and as the paper's runs were."""

from typing import Any

PUBLISHED_ETA = {"paper-2b": 0.41, "paper-4b": 0.36}
"""arXiv:2606.00564, Appendix: at gamma = 2 with visual steering."""


def _paper(size: str) -> dict[str, Any]:
    """The settings of arXiv:2606.00564, Tables 3, 4: a global batch of 512 rollouts, one epoch of 45,246 prompts.

    Rollouts a prompt are not stated; 4 is our choice. The teacher is not published: name one.
    """
    return {
        "student": f"Qwen/Qwen3-VL-{size.upper()}-Instruct",
        "prompts": "tomyoon2/OPD_train",
        "held_out_prompts": "tomyoon2/OPD_val",
        "steps": 353,
        "lr": 1e-6,
        "batch": 128,
        "rollouts_per_prompt": 4,
        "max_response": 2048,
        "micro_batch": 1,
        "eta": PUBLISHED_ETA[f"paper-{size}"],
        "geometry_every": 0,
        "dtype": "bfloat16",
        "device": "auto",
    }


_PAPER_TEACHER: dict[str, Any] = {
    "student": "Qwen/Qwen3-VL-8B-Instruct",
    "teacher": "Qwen/Qwen3-VL-8B-Instruct",
    "prompts": "tomyoon2/OPD_train",
    "held_out_prompts": "tomyoon2/OPD_val",
    "objective": "grpo",
    "steps": 176,
    "lr": 1e-6,
    "batch": 512,
    "updates": 4,
    "rollouts_per_prompt": 8,
    "top_p": 0.99,
    "max_response": 2048,
    "micro_batch": 1,
    "geometry_every": 0,
    "dtype": "bfloat16",
    "device": "auto",
}
"""GRPO as in arXiv:2606.00564, Table 4: rollouts of 512 prompts, 8 each, in updates of 128 prompts; two epochs.

The longest response is not stated; 2048 is that of distillation. GRPO needs no teacher: the run's own first weights
stand there, so that the recorded losses say how far it has gone from them.
"""

PRESETS: dict[str, dict[str, Any]] = {
    "bundled": {},
    "paper-2b": _paper("2b"),
    "paper-4b": _paper("4b"),
    "paper-teacher": _PAPER_TEACHER,
}
