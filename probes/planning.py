"""The plan of a probe, from the same flags as its measurement: no weights are read, nothing is written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.probe import Probe
from probes.seen_responses import Seen, seen_in, stored_by
from probes.settings import UnitOptions
from vlm.checkpoints.checkpoint import check_vision
from vlm.plan.outline import Outline
from vlm.plan.plan import ResourcePlan
from vlm.plan.setting_up import Models, Stated, draw_up, lengths_of
from vlm.plan.work import PHASES, Prompts, Settings, Work

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

_SCORED = ("loading", "rollouts", "scoring")
_PROBED = (*_SCORED, "gradients", "null")
PHASES_OF = {
    "accuracy": ("loading", "rollouts"),
    "vds": _SCORED,
    "support": _SCORED,
    "compare": _SCORED,
    "angles": _PROBED,
    "layers": _PROBED,
    "norms": _PROBED,
    "diagnose": _PROBED,
    "sensitivity": _PROBED,
}
"""What each probe does, by its name."""


@dataclass(frozen=True)
class Asked:
    """What a plan is asked for besides an analyzer's settings; see `probes.plan.PlanOptions`."""

    phases: Sequence[str] = PHASES
    stated: Stated | None = None
    seen: Path | None = None
    free_gb: float | None = None
    tried: int = 0
    n_probed: int = 640
    training: Settings = Settings()
    steers: bool = True

    @property
    def is_alone(self) -> bool:
        """Whether the student needs no teacher."""
        return set(self.phases) <= {"loading", "rollouts"}


def plan_of_probe(
    analyzer: "Analyzer", probe: Probe, values: Sequence[Any], others: Sequence[str] = ()
) -> ResourcePlan:
    """Return the plan of a measurement: the same prompts, settings and checks as the measurement itself.

    others: further checkpoints, of probes that take several.

    Raises:
        UserError: the measurement would be refused, as far as this shows without weights.
    """
    if probe.refuse:
        probe.refuse(analyzer, *others, *values)
    for other in others:
        check_vision(other)
    phases = PHASES_OF[probe.name]
    usual = UnitOptions.per_bin if "gradients" in phases else 0
    per_bin = next((value.per_bin for value in values if hasattr(value, "per_bin")), usual)
    if per_bin and "gradients" not in phases:  # `compare` measures them where it is asked to
        phases = (*phases, "gradients")
    plan = plan_of(analyzer, Asked(phases=phases, n_probed=n_probed(analyzer, per_bin)))
    if not others:
        return plan
    note = f"one of {1 + len(others)} students: the others take as long, one after the other"
    return replace(plan, notes=(*plan.notes, note))


def plan_of(analyzer: "Analyzer", asked: Asked) -> ResourcePlan:
    """Return the plan of a pair on an analyzer's prompts.

    Raises:
        UserError: a config, a flag or a prompt cannot be read.
    """
    pair, options, settled = analyzer.pair_options, analyzer.prompt_options, analyzer.settled_options
    dtypes = (settled.dtype, settled.teacher_dtype or settled.dtype)
    teacher = analyzer.checkpoint if asked.is_alone else pair.teacher
    models = Models(analyzer.checkpoint, teacher, dtypes, pair.device, pair.attention)
    stated = asked.stated or Stated(options.limit)
    seen: list[Seen] = [] if asked.seen is None else [seen_in(asked.seen)]

    def lengths(student: Outline, context: int) -> tuple[Prompts, str]:
        room = context - options.longest_response
        most = min(room, options.max_prompt or room)
        prompts = lengths_of(student, lambda: analyzer.source_prompts, options.text_view, most, stated)
        seen.extend(stored_by(analyzer, student) if not seen else ())
        return prompts

    elsewhere = pair.device_map is not None or pair.teacher_device not in (None, pair.device)
    settings = replace(asked.training, batch=options.batch, offload=pair.offload, elsewhere=elsewhere)
    drawn = draw_up(models, lengths, lambda prompts: _work(analyzer, prompts, asked, seen), settings, asked.free_gb)
    if not asked.tried:
        return seen[0].told(drawn.plan) if seen else drawn.plan
    from probes.trial_run import tried_out  # here, as it loads models

    return tried_out(analyzer, drawn, asked.tried)


def _work(analyzer: "Analyzer", prompts: Prompts, asked: Asked, seen: Sequence[Seen]) -> Work:
    options = analyzer.prompt_options
    without = {"rollouts"} if analyzer.stored is not None else set()
    without |= {"null"} if asked.n_probed <= analyzer.bin_options.bins else set()
    n_responses = prompts.n * options.rollouts_per_prompt
    mean = seen[0].mean_at(options.longest_response) if seen else options.longest_response
    phases = [phase for phase in asked.phases if phase not in without]
    return Work(
        tuple(phases),
        n_responses=n_responses,
        max_response=options.longest_response,
        mean_response=mean if seen else None,
        steps_in_a_batch=seen[0].steps_at(options.longest_response, options.batch) if seen else None,
        n_probed=min(asked.n_probed, math.ceil(n_responses * mean)),
        n_gradients=3 if asked.steers else 1,
        trains_text=asked.steers,
    )


def n_probed(analyzer: "Analyzer", per_bin: int | str) -> int:
    """Return how many units are drawn, at most; `per_bin` in each bin, or all."""
    options, bins = analyzer.prompt_options, analyzer.bin_options.bins
    n_tokens = options.limit * options.rollouts_per_prompt * options.longest_response
    return n_tokens if isinstance(per_bin, str) else min(bins * per_bin, n_tokens)
