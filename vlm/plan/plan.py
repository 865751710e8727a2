"""A plan: memory and time by phase against what there is, as text and as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vlm.plan.memory import Need
from vlm.plan.work import Settings, Work

SHOWN_BYTES = 1e6
"""Smaller parts of a phase are left out of the table."""
_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))


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
    """A change of settings.

    settings: with it and all before it.
    peak_bytes: with these.
    gain_bytes: by how much it lowers the peak.
    """

    words: str
    settings: Settings
    peak_bytes: int
    gain_bytes: int


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
    names: tuple[str, str] = ("", "")
    """Of student and teacher."""
    truncated: float | None = None
    """Share of responses that `max_response` cuts off; None where it is not known."""

    def __str__(self) -> str:
        return _text(self)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain values: bytes and seconds."""
        return {
            "student": self.names[0],
            "teacher": self.names[1],
            "device": self.room.device,
            "free_bytes": self.room.free_bytes,
            "process_bytes": self.room.process_bytes,
            "peak_bytes": self.peak_bytes,
            "fits": self.fits,
            "can_fit": self.can_fit,
            "phases": {
                need.phase: {"bytes": dict(need.parts), "seconds": self.seconds[need.phase]} for need in self.needs
            },
            "settings": asdict(self.settings),
            "changes": [
                {"words": change.words, "gain_bytes": change.gain_bytes, "peak_bytes": change.peak_bytes}
                for change in self.changes
            ],
            "truncated": self.truncated,
            "notes": list(self.notes),
        }

    @property
    def peak_bytes(self) -> int:
        """The most that any phase holds, the process included."""
        return max(need.total for need in self.needs) + self.room.process_bytes

    @property
    def busiest(self) -> str:
        """The phase that holds the most."""
        return max(self.needs, key=lambda need: need.total).phase

    @property
    def fits(self) -> bool:
        """Whether it fits as it is."""
        return self.peak_bytes <= self.room.free_bytes

    @property
    def can_fit(self) -> bool:
        """Whether it fits, with all changes."""
        return self.fits or bool(self.changes and self.changes[-1].peak_bytes <= self.room.free_bytes)

    @property
    def total_seconds(self) -> float:
        """The time of all phases, of all steps for training."""
        return sum(self.seconds[phase] * self.times(phase) for phase in self.seconds)

    def times(self, phase: str) -> int:
        """Return how often a phase happens."""
        return self.work.n_steps if phase == "training step" else 1

    @property
    def refusal(self) -> str:
        """One line that says why nothing helps."""
        least = min([self.peak_bytes, *(change.peak_bytes for change in self.changes)])
        tried = "; ".join(change.words for change in self.changes) or "there is nothing to change"
        return (
            f"the plan must fit into {gb(self.room.free_bytes)} GB on {self.room.device}, but needs at least"
            f" {gb(least)} GB with {tried}; choose a smaller model, shorter responses (max_response) or another device"
        )


def _text(plan: ResourcePlan) -> str:
    """Return a plan as lines for the terminal."""
    return "\n".join([_title(plan), "", *_table(plan), "", *_basis(plan), "", *_verdict(plan)])


def gb(n_bytes: float) -> str:
    """Return bytes as GB (10^9), three digits."""
    return f"{n_bytes / 1e9:.3g}"


def duration(seconds: float) -> str:
    """Return a time in hours, minutes or seconds, two digits or more."""
    if seconds < 0.1:
        return "< 0.1 s"
    size, unit = next((size, unit) for size, unit in (*_UNITS, (0.0, "s")) if seconds >= 2 * size)
    value = seconds / (size or 1.0)
    return f"{value:.0f} {unit}" if value >= 9.95 else f"{value:.1f} {unit}"


def _title(plan: ResourcePlan) -> str:
    (student, teacher), settings, work = plan.names, plan.settings, plan.work
    batch = f"batch {settings.batch}"
    if "training step" in work.phases:
        batch += f", micro-batch {settings.micro_batch}"
    models = f"student {student} ({settings.dtype})"
    if work.has_teacher:
        models += f", teacher {teacher} ({settings.teacher_dtype})"
    return f"plan: {models}, on {plan.room.device}; {batch}; responses of up to {work.max_response} tokens"


def _table(plan: ResourcePlan) -> list[str]:
    """Memory at the peak of each phase, its time, and its largest parts."""
    rows = [("phase", "GB", "time", "largest parts, GB")]
    process = {"process": plan.room.process_bytes}
    for need in plan.needs:
        parts = sorted((process | dict(need.parts)).items(), key=lambda part: -part[1])
        largest = ", ".join(f"{name} {gb(size)}" for name, size in parts if size >= SHOWN_BYTES)
        times = plan.times(need.phase)
        time = duration(plan.seconds[need.phase]) + (f" x {times}" if times > 1 else "")
        rows.append((need.phase, gb(need.total + plan.room.process_bytes), time, largest))
    rows.append(("all", gb(plan.peak_bytes), duration(plan.total_seconds), ""))
    return _aligned(rows)


def _aligned(rows: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """Words to the left, numbers to the right, in columns."""
    first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
    lines = [f"{a:<{first}}  {b:>{second}}  {c:>{third}}  {d}" for a, b, c, d in rows]
    return [line.rstrip() for line in lines]


def _basis(plan: ResourcePlan) -> list[str]:
    """What the numbers rest on."""
    lines = list(plan.notes)
    if plan.room.process_bytes:
        lines.append(f"process: libraries and tokenizers hold {gb(plan.room.process_bytes)} GB, measured now")
    return [f"note: {line}" for line in lines]


def _verdict(plan: ResourcePlan) -> list[str]:
    """Truncated responses, whether it fits, and what to change."""
    room = plan.room
    share = "unknown" if plan.truncated is None else f"{100 * plan.truncated:.0f} % of those seen"
    lines = [f"truncated responses at {plan.work.max_response} tokens: {share}"]
    verdict = "it fits" if plan.fits else f"it does not fit, {gb(plan.peak_bytes - room.free_bytes)} GB too much"
    lines.append(f"peak: {gb(plan.peak_bytes)} GB in {plan.busiest}, {gb(room.free_bytes)} GB free: {verdict}")
    width = max((len(change.words) for change in plan.changes), default=0)
    for change in plan.changes:
        gain = f"{gb(change.gain_bytes)} GB less, peak {gb(change.peak_bytes)} GB"
        lines.append(f"change: {change.words:<{width}}  {gain}")
    if plan.changes:
        lines.append("it fits with these changes" if plan.can_fit else "it does not fit even with all these changes")
    return lines
