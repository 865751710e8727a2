"""Make a plan, and find what to change where it does not fit."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from vlm.checkpoints.precision import DTYPES, QUANTISED
from vlm.plan.costs import Costs
from vlm.plan.inputs import counts_the_tower, pixels_of_a_token
from vlm.plan.memory import Memory
from vlm.plan.minutes import Minutes
from vlm.plan.plan import Change, ResourcePlan, Room, gb
from vlm.plan.rates import Rates
from vlm.plan.work import Prompts, Settings, Work


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
    names = costs.student.name, costs.teacher.name
    plan = ResourcePlan(work, settings, room, memory.needs(), seconds, notes=_notes(memory), names=names)
    return plan if plan.fits else replace(plan, changes=tuple(_changes(memory, room)))


def _changes(memory: Memory, room: Room) -> list[Change]:
    """Return what to change until all fits.

    Each time the first way that lowers the peak is taken: one that did not help before may do so later, when another
    phase holds the most.
    """
    changes: dict[str, Change] = {}
    while (peak := _peak(memory, room)) > room.free_bytes:
        helped = _first_that_helps(memory, room, peak)
        if helped is None:
            break
        name, memory = helped
        before = changes.pop(name, None)
        gain = peak - _peak(memory, room) + (before.gain_bytes if before else 0)
        if name == "--teacher-dtype" and (undone := changes.pop("--offload", None)):
            gain += undone.gain_bytes
        changes[name] = Change(_words(name, memory), memory.settings, _peak(memory, room), gain)
    return list(changes.values())


def _words(name: str, memory: Memory) -> str:
    """A flag with its value, as the planned command has it."""
    if name in SWITCHES:
        return name
    value = getattr(memory.settings, name[2:].replace("-", "_"))
    is_of_a_trainer = name == "--batch" and memory.work.keeps_float32
    return f"{'--generation-batch' if is_of_a_trainer else name} {value}"


def _first_that_helps(memory: Memory, room: Room, peak: int) -> tuple[str, Memory] | None:
    """The flag that is changed first, and the memory with it."""
    for name, change in _WAYS.items():
        if (changed := change(memory, room)) is not None:
            tried = replace(memory, costs=_costs_with(memory.costs, changed), settings=changed)
            if _peak(tried, room) < peak:
                return name, tried
    return None


def _costs_with(costs: Costs, settings: Settings) -> Costs:
    """The costs of a pair in other dtypes and with smaller pictures; an 8-bit teacher computes in the student's."""
    wanted = {"student": settings.dtype, "teacher": settings.teacher_dtype}
    for side, dtype in wanted.items():
        dtype = settings.dtype if dtype not in DTYPES else dtype
        if getattr(costs, side).dtype != DTYPES[dtype]:
            costs = replace(costs, **{side: getattr(costs, side).in_dtype(dtype)})
    if settings.max_pixels is None:
        return costs
    prompts = costs.prompts
    return replace(costs, prompts=_with_pictures_of(prompts, settings.max_pixels // pixels_of_a_token(costs.student)))


def _with_pictures_of(prompts: Prompts, n_tokens: int) -> Prompts:
    """The prompts with pictures of so many tokens each, by their lengths alone."""
    image = prompts.image
    visual = min(n_tokens * image.n_pictures, image.visual)
    shown = replace(image, tokens=image.tokens - image.visual + visual, visual=visual, view=None)
    return replace(prompts, image=shown, pixel_bytes=prompts.pixel_bytes * visual // max(image.visual, 1))


def _peak(memory: Memory, room: Room) -> int:
    return max(need.total for need in memory.needs()) + room.process_bytes


Way = Callable[[Memory, Room], Settings | None]


def _smaller_batch(memory: Memory, _: Room) -> Settings | None:
    return replace(memory.settings, batch=memory.batch // 2) if memory.batch > 1 else None


def _smaller_micro_batch(memory: Memory, _: Room) -> Settings | None:
    can = _trains(memory) and memory.micro_batch > 1
    return replace(memory.settings, micro_batch=memory.micro_batch // 2) if can else None


def _checkpointed(memory: Memory, _: Room) -> Settings | None:
    settings = memory.settings
    can = _trains(memory) and not settings.gradient_checkpointing
    return replace(settings, gradient_checkpointing=True) if can else None


def _offload(memory: Memory, room: Room) -> Settings | None:
    settings = memory.settings
    if room.on_cpu or settings.offload or _trains(memory) or settings.elsewhere or settings.teacher_dtype in QUANTISED:
        return None
    return replace(settings, offload=True)


def _half(memory: Memory, _: Room) -> Settings | None:
    settings = memory.settings
    if settings.dtype not in ("float32", "float64"):
        return None
    teacher = settings.teacher_dtype if settings.teacher_dtype in QUANTISED else "bfloat16"
    return replace(settings, dtype="bfloat16", teacher_dtype=teacher)


def _int8(memory: Memory, room: Room) -> Settings | None:
    """An 8-bit teacher; a trainer has none."""
    settings = memory.settings
    if room.on_cpu or settings.elsewhere or settings.teacher_dtype in QUANTISED or memory.work.keeps_float32:
        return None
    return replace(settings, teacher_dtype="int8", offload=False)


def _smaller_pictures(memory: Memory, _: Room) -> Settings | None:
    """Half the pixels, where pictures have more tokens than the rest of a prompt and its response."""
    costs, image = memory.costs, memory.costs.prompts.image
    a_token = pixels_of_a_token(costs.student)
    if not a_token or image.visual < LEAST_VISUAL or 2 * image.visual <= image.tokens + costs.n_response:
        return None
    return replace(memory.settings, max_pixels=image.visual // (2 * image.n_pictures) * a_token)


def _lora(memory: Memory, _: Room) -> Settings | None:
    can = _trains(memory) and not memory.settings.lora_rank
    return replace(memory.settings, lora_rank=32) if can else None


def _trains(memory: Memory) -> bool:
    return "training step" in memory.work.phases


_WAYS: Mapping[str, Way] = {
    "--batch": _smaller_batch,
    "--micro-batch": _smaller_micro_batch,
    "--gradient-checkpointing": _checkpointed,
    "--offload": _offload,
    "--dtype": _half,
    "--teacher-dtype": _int8,
    "--max-pixels": _smaller_pictures,
    "--lora-rank": _lora,
}
"""What to change, by flag: first what changes no number and costs little time, last what changes most."""
SWITCHES = ("--gradient-checkpointing", "--offload")
"""Flags without a value."""
LEAST_VISUAL = 64
"""Pictures of fewer tokens are not made smaller."""


def _notes(memory: Memory) -> tuple[str, ...]:
    costs, notes = memory.costs, []
    if not counts_the_tower(costs.student, costs.prompts.image):
        notes.append("the vision tower is not counted: without a processor its inputs are not known")
    if (first := memory.first_student()) and not memory.on_cpu:
        notes.append(
            f"the frozen prior is another copy of the student, {gb(first)} GB of the machine's memory, not in the"
            " table; with adapters there is none"
        )
    return tuple(notes)
