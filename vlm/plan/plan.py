"""A plan: memory and time by phase against what there is, as text and as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vlm.plan.memory import Need
from vlm.plan.text import gb, text
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
        return text(self)

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
