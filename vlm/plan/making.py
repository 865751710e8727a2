"""Make a plan, and find what to change where it does not fit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from vlm.checkpoints.precision import DTYPES
from vlm.plan.costs import Costs
from vlm.plan.inputs import counts_the_tower
from vlm.plan.memory import Memory
from vlm.plan.minutes import Minutes
from vlm.plan.plan import Change, ResourcePlan, Room
from vlm.plan.rates import Rates
from vlm.plan.work import Settings, Work


def make_plan(
    costs: Costs,
    work: Work,
    settings: Settings,
    room: Room,
    rates: Rates,
    corrections: Mapping[str, float] | None = None,
) -> ResourcePlan:
    """Return the plan of some work with some settings, and what to change if it does not fit."""
    memory = Memory(costs, work, settings, room.on_cpu)
    seconds = Minutes(costs, work, settings, rates, corrections or {}).seconds()
    plan = ResourcePlan(work, settings, room, memory.needs(), seconds, notes=_notes(costs))
    return plan if plan.fits else replace(plan, changes=tuple(_changes(memory, room)))


def _changes(memory: Memory, room: Room) -> Iterator[Change]:
    """Yield one change after the other, until all fits; those that do not help are left out."""
    least = _peak(memory, room)
    for words, change in _WAYS:
        helped = None
        while least > room.free_bytes and (changed := change(memory, room)) is not None:
            tried = replace(memory, costs=_costs_with(memory.costs, changed), settings=changed)
            if (peak := _peak(tried, room)) >= least:
                break
            memory, least = tried, peak
            helped = Change(words(changed), changed, peak)
        if helped is not None:
            yield helped


def _costs_with(costs: Costs, settings: Settings) -> Costs:
    """The costs of a pair in other dtypes; an 8-bit teacher computes in the student's."""
    wanted = {"student": settings.dtype, "teacher": settings.teacher_dtype}
    for side, dtype in wanted.items():
        dtype = settings.dtype if dtype not in DTYPES else dtype
        if getattr(costs, side).dtype != DTYPES[dtype]:
            costs = replace(costs, **{side: getattr(costs, side).in_dtype(dtype)})
    return costs


def _peak(memory: Memory, room: Room) -> int:
    return max(need.total for need in memory.needs()) + room.process_bytes


Way = tuple[Callable[[Settings], str], Callable[[Memory, Room], Settings | None]]


def _smaller_batch(memory: Memory, _: Room) -> Settings | None:
    return replace(memory.settings, batch=memory.batch // 2) if memory.batch > 1 else None


def _smaller_micro_batch(memory: Memory, _: Room) -> Settings | None:
    can = "training step" in memory.work.phases and memory.micro_batch > 1
    return replace(memory.settings, micro_batch=memory.micro_batch // 2) if can else None


def _half(memory: Memory, _: Room) -> Settings | None:
    settings = memory.settings
    if settings.dtype != "float32":
        return None
    return replace(settings, dtype="bfloat16", teacher_dtype="bfloat16")


def _int8(memory: Memory, room: Room) -> Settings | None:
    settings = memory.settings
    return None if room.on_cpu or settings.teacher_dtype == "int8" else replace(settings, teacher_dtype="int8")


def _offload(memory: Memory, room: Room) -> Settings | None:
    settings = memory.settings
    if room.on_cpu or settings.offload or "training step" in memory.work.phases:
        return None
    teacher_dtype = settings.dtype if settings.teacher_dtype == "int8" else settings.teacher_dtype
    return replace(settings, offload=True, teacher_dtype=teacher_dtype)


def _checkpointed(memory: Memory, _: Room) -> Settings | None:
    settings, trains = memory.settings, "training step" in memory.work.phases
    return replace(settings, gradient_checkpointing=True) if trains and not settings.gradient_checkpointing else None


def _lora(memory: Memory, _: Room) -> Settings | None:
    settings, trains = memory.settings, "training step" in memory.work.phases
    return replace(settings, lora_rank=32) if trains and not settings.lora_rank else None


_WAYS: Sequence[Way] = (
    (lambda s: f"--batch {s.batch}", _smaller_batch),
    (lambda s: f"--micro-batch {s.micro_batch}", _smaller_micro_batch),
    (lambda s: f"--dtype {s.dtype}", _half),
    (lambda s: f"--teacher-dtype {s.teacher_dtype}", _int8),
    (lambda s: "--offload", _offload),
    (lambda s: "--gradient-checkpointing", _checkpointed),
    (lambda s: f"--lora-rank {s.lora_rank}", _lora),
)
"""What to change, in the order in which it costs least: words for it, and the settings with it."""


def _notes(costs: Costs) -> tuple[str, ...]:
    prompts, notes = costs.prompts, []
    if not counts_the_tower(costs.student, prompts.image):
        notes.append("the vision tower is not counted: without a processor its inputs are not known")
    if prompts.image.tokens + costs.n_response > costs.student.context:
        notes.append(
            f"prompt and response have {prompts.image.tokens + costs.n_response} tokens, more than the context of"
            f" {costs.student.context}: such prompts are left out"
        )
    return tuple(notes)
