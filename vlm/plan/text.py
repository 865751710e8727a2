"""A plan as text: what is planned, a table of the phases, what the numbers rest on, the verdict and the changes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlm.plan.plan import ResourcePlan

SHOWN_BYTES = 1e6
"""Smaller parts of a phase are left out of the table."""
_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))


def text(plan: "ResourcePlan") -> str:
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


def _title(plan: "ResourcePlan") -> str:
    (student, teacher), settings, work = plan.names, plan.settings, plan.work
    batch = f"batch {settings.batch}"
    if "training step" in work.phases:
        batch += f", micro-batch {settings.micro_batch}"
    models = f"student {student} ({settings.dtype})"
    if work.has_teacher:
        models += f", teacher {teacher} ({settings.teacher_dtype})"
    return f"plan: {models}, on {plan.room.device}; {batch}; responses of up to {work.max_response} tokens"


def _table(plan: "ResourcePlan") -> list[str]:
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


def _basis(plan: "ResourcePlan") -> list[str]:
    """What the numbers rest on."""
    lines = list(plan.notes)
    if plan.room.process_bytes:
        lines.append(f"process: libraries and tokenizers hold {gb(plan.room.process_bytes)} GB, measured now")
    return [f"note: {line}" for line in lines]


def _verdict(plan: "ResourcePlan") -> list[str]:
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
