"""A plan: memory and time by phase against what there is, as text and as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cli.tables import aligned
from vlm.plan.memory import Need
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
        return _text(self)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain values: bytes and seconds."""
        return {
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
            "changes": [{"words": change.words, "peak_bytes": change.peak_bytes} for change in self.changes],
            "truncated": self.truncated,
            "notes": list(self.notes),
        }

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


def _text(plan: ResourcePlan) -> str:
    """Return the table of the phases, and what follows from it."""
    room = plan.room
    lines = [_table(plan), ""]
    if room.process_bytes:
        lines.append(f"process: {gb(room.process_bytes)} GB of it are libraries and tokenizers, measured now")
    verdict = "it fits" if plan.fits else "it does not fit"
    lines.append(f"peak: {gb(plan.peak_bytes)} GB, {gb(room.free_bytes)} GB free on {room.device}: {verdict}")
    if plan.changes:
        lines += [f"change: {change.words}: {gb(change.peak_bytes)} GB" for change in plan.changes]
        lines.append("it fits with these changes" if plan.can_fit else "it does not fit with all of these")
    share = "unknown" if plan.truncated is None else f"{100 * plan.truncated:.0f} % of those seen"
    lines.append(f"truncated responses at {plan.work.max_response} tokens: {share}")
    lines += [f"note: {note}" for note in plan.notes]
    return "\n".join(lines)


def _short(minutes: float) -> str:
    """Return minutes, two digits, without a power of ten where they are few."""
    return f"{minutes:.2g}" if minutes >= 0.001 else "<0.001"


def _table(plan: ResourcePlan) -> str:
    rows, parts = [["phase", "GB", "minutes"]], ["of which, GB"]
    for need in plan.needs:
        minutes = plan.seconds[need.phase] / 60
        times = f" x {plan.work.n_steps}" if need.phase == "training step" and plan.work.n_steps > 1 else ""
        rows.append([need.phase, gb(need.total + plan.room.process_bytes), f"{_short(minutes)}{times}"])
        parts.append(", ".join(f"{name} {gb(size)}" for name, size in need.parts.items() if size >= 5e5))
    return "\n".join(f"{row}  {part}" for row, part in zip(aligned(rows).splitlines(), parts, strict=True))
