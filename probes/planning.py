"""The plan of a probe, from the same flags as its measurement: no weights are read, nothing is written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from probes.probe import Probe
from probes.settings import PromptOptions, UnitOptions
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
    free_gb: float | None = None
    tried: int = 0
    n_probed: int = 640
    training: Settings = Settings()
    steers: bool = True


def plan_of_probe(analyzer: "Analyzer", probe: Probe, values: Sequence[Any], n_models: int = 1) -> ResourcePlan:
    """Return the plan of a measurement: the same prompts, settings and checks as the measurement itself."""
    phases = PHASES_OF[probe.name]
    units = next((value for value in values if isinstance(value, UnitOptions)), UnitOptions())
    n_units = 0 if "gradients" not in phases else n_probed(analyzer, units)
    plan = plan_of(analyzer, Asked(phases=phases, n_probed=n_units))
    if n_models == 1:
        return plan
    note = f"one of {n_models} students: the others take as long, one after the other"
    return replace(plan, notes=(*plan.notes, note))


def plan_of(analyzer: "Analyzer", asked: Asked) -> ResourcePlan:
    """Return the plan of a pair on an analyzer's prompts.

    Raises:
        UserError: a config, a flag or a prompt cannot be read.
    """
    pair, options, settled = analyzer.pair_options, analyzer.prompt_options, analyzer.settled_options
    dtypes = (settled.dtype, settled.teacher_dtype or settled.dtype)
    models = Models(analyzer.checkpoint, pair.teacher, dtypes, pair.device, pair.attention)
    stated = asked.stated or Stated(options.limit)

    def lengths(student: Outline, context: int) -> tuple[Prompts, str]:
        most = context - options.longest_response
        return lengths_of(student, lambda: analyzer.source_prompts, options.text_view, most, stated)

    elsewhere = pair.device_map is not None or pair.teacher_device not in (None, pair.device)
    settings = replace(asked.training, batch=options.batch, offload=pair.offload, elsewhere=elsewhere)
    drawn = draw_up(models, lengths, lambda prompts: _work(options, prompts, asked), settings, asked.free_gb)
    if not asked.tried:
        return drawn.plan
    from probes.trial_run import tried_out  # here, as it loads models

    return tried_out(analyzer, drawn, asked.tried)


def _work(options: PromptOptions, prompts: Prompts, asked: Asked) -> Work:
    phases = [p for p in asked.phases if p != "null" or asked.n_probed > 10]
    return Work(
        tuple(phases),
        n_responses=prompts.n * options.rollouts_per_prompt,
        max_response=options.longest_response,
        n_probed=asked.n_probed,
        n_gradients=3 if asked.steers else 1,
        trains_text=asked.steers,
    )


def n_probed(analyzer: "Analyzer", units: UnitOptions) -> int:
    """Units that are drawn, at most."""
    options, bins = analyzer.prompt_options, analyzer.bin_options.bins
    n_tokens = options.limit * options.rollouts_per_prompt * options.longest_response
    return n_tokens if units.per_bin == "all" else min(bins * units.per_bin, n_tokens)
