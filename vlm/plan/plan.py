"""A plan: memory and time by phase against what there is, and what to change where it does not fit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vlm.plan.costs import Costs
from vlm.plan.inputs import counts_the_tower
from vlm.plan.memory import Memory, Need
from vlm.plan.minutes import Minutes
from vlm.plan.rates import Rates
from vlm.plan.work import Settings, Work


@dataclass(frozen=True)
class Room:
    """What a device has.

    free_bytes: that new tensors can take; those of this process's libraries among them on a CPU.
    process_bytes: what this process holds now: libraries and tokenizers; 0 on an accelerator.
    """

    device: str
    free_bytes: int
    process_bytes: int = 0

    @property
    def on_cpu(self) -> bool:
        """Whether models and process share the machine's memory."""
        return self.device == "cpu"


@dataclass(frozen=True)
class Change:
    """A change of settings, and the peak with it and all before it."""

    words: str
    settings: Settings
    peak_bytes: int


@dataclass(frozen=True)
class ResourcePlan:
    """What work takes, and whether it fits.

    needs: memory by phase; seconds: time by phase, of one step for training.
    changes: what to change, in order, until it fits; empty where it fits as it is.
    notes: what the plan rests on.
    """

    work: Work
    settings: Settings
    room: Room
    needs: Sequence[Need]
    seconds: Mapping[str, float]
    changes: Sequence[Change] = ()
    notes: Sequence[str] = field(default_factory=tuple)
    truncated: float | None = None
    """Share of responses that `max_response` cuts off; None where it is not known."""

    def __str__(self) -> str:
        """Return the plan as text."""
        from vlm.plan.text import as_text  # here, as it knows plans

        return as_text(self)

    @property
    def peak_bytes(self) -> int:
        """The most that any phase holds, the process included."""
        return max(need.total for need in self.needs) + self.room.process_bytes

    @property
    def fits(self) -> bool:
        """Whether it fits as it is."""
        return self.peak_bytes <= self.room.free_bytes

    @property
    def can_fit(self) -> bool:
        """Whether it fits, with all changes."""
        return self.fits or bool(self.changes and self.changes[-1].peak_bytes <= self.room.free_bytes)

    @property
    def refusal(self) -> str:
        """One line that says why nothing helps."""
        least = min([self.peak_bytes, *(change.peak_bytes for change in self.changes)])
        worst = max(self.needs, key=lambda need: need.total).phase
        tried = "; ".join(change.words for change in self.changes) or "there is nothing to change"
        return (
            f"the plan must fit into {gb(self.room.free_bytes)} GB on {self.room.device}, but {worst} needs at least"
            f" {gb(least)} GB with {tried}; choose a smaller model, shorter responses (max_response) or another device"
        )


def gb(n_bytes: float) -> str:
    """Return bytes as GB (10^9), three digits."""
    return f"{n_bytes / 1e9:.3g}"


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
        while least > room.free_bytes:
            changed = change(memory, room)
            if changed is None:
                break
            tried = replace(memory, costs=_costs_with(memory.costs, changed), settings=changed)
            peak = _peak(tried, room)
            if peak >= least:
                break
            memory, least = tried, peak
            yield Change(words(changed), changed, peak)


def _costs_with(costs: Costs, settings: Settings) -> Costs:
    """The costs of a pair in other dtypes."""
    wanted = {"student": settings.dtype, "teacher": settings.dtype if settings.teacher_dtype == "int8" else settings.teacher_dtype}
    changed = {
        side: getattr(costs, side).in_dtype(dtype)
        for side, dtype in wanted.items()
        if str(getattr(costs, side).dtype) != f"torch.{dtype}"
    }
    return replace(costs, **changed)


def _peak(memory: Memory, room: Room) -> int:
    return max(need.total for need in memory.needs()) + room.process_bytes


Way = tuple[Callable[[Settings], str], Callable[[Memory, Room], Settings | None]]


def _smaller_batch(memory: Memory, _: Room) -> Settings | None:
    settings = memory.settings
    return replace(settings, batch=settings.batch // 2) if settings.batch > 1 else None


def _smaller_micro_batch(memory: Memory, _: Room) -> Settings | None:
    settings = memory.settings
    trains = "training step" in memory.work.phases
    return replace(settings, micro_batch=settings.micro_batch // 2) if trains and settings.micro_batch > 1 else None


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
