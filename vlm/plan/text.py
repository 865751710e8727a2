"""A plan as text, and as what JSON can hold."""

from dataclasses import asdict
from typing import Any

from cli.tables import aligned
from vlm.plan.plan import ResourcePlan, gb


def as_text(plan: ResourcePlan) -> str:
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


def as_json(plan: ResourcePlan) -> dict[str, Any]:
    """Return the plan as plain values: bytes and seconds."""
    return {
        "device": plan.room.device,
        "free_bytes": plan.room.free_bytes,
        "process_bytes": plan.room.process_bytes,
        "peak_bytes": plan.peak_bytes,
        "fits": plan.fits,
        "can_fit": plan.can_fit,
        "phases": {
            need.phase: {"bytes": dict(need.parts), "seconds": plan.seconds[need.phase]} for need in plan.needs
        },
        "settings": asdict(plan.settings),
        "changes": [{"words": change.words, "peak_bytes": change.peak_bytes} for change in plan.changes],
        "truncated": plan.truncated,
        "notes": list(plan.notes),
    }


def _table(plan: ResourcePlan) -> str:
    rows = [["phase", "GB", "minutes", "of which, GB"]]
    for need in plan.needs:
        parts = ", ".join(f"{name} {gb(size)}" for name, size in need.parts.items() if size >= 5e5)
        minutes = plan.seconds[need.phase] / 60
        times = f" x {plan.work.n_steps}" if need.phase == "training step" and plan.work.n_steps > 1 else ""
        rows.append([need.phase, gb(need.total + plan.room.process_bytes), f"{minutes:.2g}{times}", parts])
    return aligned(rows)
