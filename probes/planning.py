"""The plan of a probe, from the same flags as its measurement: no weights are read, nothing is written."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from probes.probe import Probe
from probes.settings import PairOptions, PromptOptions, UnitOptions
from vlm.plan.costs import Costs
from vlm.plan.plan import ResourcePlan, make_plan
from vlm.plan.rates import measured_rates
from vlm.plan.setting_up import Stated, device_named, outlines, read_lengths, room_on, stated_lengths, threads
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
    stated: Stated = Stated()
    free_gb: float | None = None
    tried: int = 0
    n_probed: int = 640
    training: Settings = Settings()
    steers: bool = True


def plan_of_probe(analyzer: "Analyzer", probe: Probe, values: Sequence[Any], n_models: int = 1) -> ResourcePlan:
    """Return the plan of a measurement: the same prompts, settings and checks as the measurement itself."""
    phases = PHASES_OF[probe.name]
    units = next((value for value in values if isinstance(value, UnitOptions)), UnitOptions())
    n_probed = 0 if "gradients" not in phases else _n_probed(analyzer, units)
    plan = plan_of(analyzer, Asked(phases=phases, n_probed=n_probed))
    if n_models == 1:
        return plan
    note = f"one of {n_models} students: the others take as long, one after the other"
    return replace(plan, notes=(*plan.notes, note))


def plan_of(analyzer: "Analyzer", asked: Asked) -> ResourcePlan:
    """Return the plan of a pair on an analyzer's prompts.

    Raises:
        UserError: a config, a flag or a prompt cannot be read.
    """
    pair, options = analyzer.pair_options, analyzer.prompt_options
    device = device_named(pair.device)
    dtypes = _dtypes(pair, device.type)
    student, teacher = outlines(analyzer.checkpoint, pair.teacher, dtypes, pair.attention)
    prompts, notes = _prompts(analyzer, student, asked.stated)
    settings = replace(asked.training, batch=options.batch, dtype=dtypes[0], teacher_dtype=dtypes[1])
    work = _work(options, prompts, asked)
    costs = Costs(student, teacher, prompts, work.max_response)
    rates = measured_rates(device, student.dtype)
    room = room_on(device, asked.free_gb)
    plan = make_plan(costs, work, settings, room, rates)
    rated = f"{rates.flops / 1e9:.3g} GFLOP/s and {rates.bytes / 1e9:.3g} GB/s measured on {room.device}, {threads()}"
    plan = replace(plan, notes=(*notes, rated, *plan.notes))
    if not asked.tried:
        return plan
    from probes.trial_run import tried_out  # here, as it loads models

    return tried_out(analyzer, plan, costs, rates, asked.tried)


def _prompts(analyzer: "Analyzer", student: Any, stated: Stated) -> tuple[Prompts, list[str]]:
    """The lengths of the prompts, and where they are from."""
    options = analyzer.prompt_options
    is_stated = stated.prompt_tokens is not None or stated.visual_tokens is not None
    if student.processor is None or is_stated:
        prompts = stated_lengths(stated, options.limit)
        where = "as stated" if is_stated else "assumed, as the student has no processor here (--prompt-tokens)"
    else:
        prompts = read_lengths(student, analyzer.source_prompts, options.text_view)
        where = f"the longest of {prompts.n}, read"
    said = f"prompts of {prompts.image.tokens} tokens with the picture and {prompts.text.tokens} without: {where}"
    return prompts, [said]


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


def _n_probed(analyzer: "Analyzer", units: UnitOptions) -> int:
    """Units that are drawn, at most."""
    options, bins = analyzer.prompt_options, analyzer.bin_options.bins
    n_tokens = options.limit * options.rollouts_per_prompt * options.longest_response
    return n_tokens if units.per_bin == "all" else min(bins * units.per_bin, n_tokens)


def _dtypes(pair: PairOptions, device: str) -> tuple[str, str]:
    """The dtypes of student and teacher; `auto` is float32 on a CPU, bfloat16 elsewhere."""
    auto = "float32" if device == "cpu" else "bfloat16"
    own = auto if pair.dtype == "auto" else pair.dtype
    other = pair.teacher_dtype or own
    return own, auto if other == "auto" else other


def options_of(analyzer: "Analyzer") -> dict[str, Any]:
    """Return an analyzer's settings as keywords."""
    groups = (analyzer.pair_options, analyzer.prompt_options, analyzer.bin_options)
    return {name: value for group in groups for name, value in asdict(group).items()}
