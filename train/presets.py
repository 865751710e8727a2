"""Presets of a run: by name, the flags that each fills in."""

from collections.abc import Mapping
from typing import Any, Final

from geometry.objective_settings import PUBLISHED_ETA

REASONING_PROMPT: Final = (
    "You answer questions about pictures. Think step by step first and write your reasoning between <reason> and"
    " </reason>. Then state the final answer once, inside \\boxed{}."
)
"""A system prompt with the content of the paper's, in other words."""

_PAPER: Final[Mapping[str, Any]] = {
    "prompts": "tomyoon2/OPD_train",
    "held_out_prompts": "tomyoon2/OPD_val",
    "system_prompt": REASONING_PROMPT,
    "max_prompt": 16384,
    "lr": 1e-6,
    "max_response": 2048,
    "micro_batch": 1,
    "geometry_every": 0,
    "dtype": "bfloat16",
    "device": "auto",
}


def _paper(size: str) -> dict[str, Any]:
    """Return the settings of arXiv:2606.00564, Tables 3, 4: 512 rollouts per batch, one epoch of 45,246 prompts.

    Table 3 states the longest response, 2,048 tokens. The rollouts per prompt are stated nowhere: 4 is our choice and
    gives 353 steps, but 1 is as natural and gives 88. The teacher is not published: name one.
    """
    student = f"Qwen/Qwen3-VL-{size.upper()}-Instruct"
    batches = {"steps": 353, "batch": 128, "rollouts_per_prompt": 4}
    return {**_PAPER, **batches, "student": student, "eta": PUBLISHED_ETA[size]}


def _paper_teacher() -> dict[str, Any]:
    """Return GRPO as in arXiv:2606.00564, Table 4: two epochs; 512 prompts per step, in updates of 128 prompts.

    The longest response is that of distillation, from Table 3. GRPO needs no teacher: the first
    weights of the run take its place, so that the recorded losses say how far the student has moved.
    """
    student = "Qwen/Qwen3-VL-8B-Instruct"
    batches = {"steps": 176, "batch": 512, "updates": 4, "rollouts_per_prompt": 8, "top_p": 0.99, "max_prompt": 12800}
    return {**_PAPER, **batches, "student": student, "teacher": student, "objective": "grpo"}


PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "bundled": {},
    "paper-2b": _paper("2b"),
    "paper-4b": _paper("4b"),
    "paper-teacher": _paper_teacher(),
}
"""By name, the flags that a preset fills in."""
