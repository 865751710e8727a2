"""What a diagnosis cost, and what a full training run would: from measured seconds a response token.

A step is taken to be: the rollouts, the four views of every response (standard: the image views alone), and backward
passes at twice a forward pass of the student, through the image view and, to preserve language, through the text view.
A view of either model is taken to cost in proportion to its number of parameters. Both are measured on this device with
this batch: a server that samples faster, or more devices, make it less.
"""

import resource
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from probes.diagnosis.finding import Row, finding
from probes.settings import RunOptions

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

COST, RUN = "what this diagnosis cost", "what a full run would cost"


def cost_rows(analyzer: "Analyzer", options: RunOptions) -> list[Row]:
    """The findings about cost."""
    rows = [finding(COST, name, "seconds", spent) for name, spent in analyzer.seconds.items()]
    rows.append(finding(COST, "all", "seconds", sum(analyzer.seconds.values())))
    rows.append(finding(COST, "most memory of the process", "GB", memory_gb()))
    if analyzer.pair.student.device.type == "cuda":
        rows.append(finding(COST, "most memory of the device", "GB", torch.cuda.max_memory_allocated() / 1e9))
    if analyzer.continued or analyzer.stored is not None:
        reason = "not estimated: this diagnosis continued an interrupted one, whose seconds are not known"
        if analyzer.stored is not None:
            reason = "not estimated: the responses were sampled elsewhere, in a time that is not known"
        return [*rows, finding(RUN, "a step", "seconds", float("nan"), reason=reason)]
    return [*rows, *_run_rows(analyzer, analyzer.seconds, options)]


def step_seconds(per_token: Mapping[str, float], n_tokens: float, student: int, teacher: int) -> dict[str, float]:
    """Seconds of a step of `n_tokens` response tokens, for standard and for vgs-lp.

    Args:
        per_token: seconds a token of `rollouts` and of `scoring`, which is two views of each model.
        student, teacher: numbers of parameters.
    """
    view = student / (2.0 * (student + teacher))  # of what scoring costs: one view of the student
    sampled, scored = per_token["rollouts"], per_token["scoring"]
    standard = sampled + scored * (0.5 + 2.0 * view)
    return {"standard": n_tokens * standard, "vgs-lp": n_tokens * (sampled + scored * (1.0 + 4.0 * view))}


def memory_gb() -> float:
    """The most memory that the process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _run_rows(analyzer: "Analyzer", seconds: Mapping[str, float], options: RunOptions) -> list[Row]:
    lengths = [len(rollout.token_ids) for rollout in analyzer.rollouts]
    per_token = {phase: seconds[phase] / sum(lengths) for phase in ("rollouts", "scoring")}
    length = options.run_length or sum(lengths) / len(lengths)
    sizes = [sum(p.numel() for p in loaded.model.parameters()) for loaded in analyzer.pair.models]
    steps = step_seconds(per_token, options.run_responses * length, *sizes)
    reason = (
        f"{options.run_responses} responses of {length:.0f} tokens; backward at twice a forward pass; on this device"
    )
    rows = []
    for name, spent in steps.items():
        rows.append(finding(RUN, f"a step of {name}", "seconds", spent, reason=reason))
        rows.append(finding(RUN, f"{options.run_steps} steps of {name}", "hours", spent * options.run_steps / 3600))
    return rows
