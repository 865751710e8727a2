"""One line for each kind of record and for a run: the number that a reader looks for first."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from records import Measurement
from records.journal_lines import Journal


def of_record(record: Measurement) -> str:
    """Return the headline of a complete record; its tables by number of rows where its probe has none."""
    probe = record.header["probe"].rpartition(".")[2]
    headline = _HEADLINES.get(probe)
    needed = _TABLES.get(probe, ())
    if headline and record.has(*needed):
        return headline(record)
    return ", ".join(f"{name} {rows}" for name, rows in record.record["tables"].items())


def of_run(journal: Journal, settings: Mapping[str, Any]) -> str:
    """Return the objective, the steps, and the last losses and accuracy of a run."""
    said = [f"{settings.get('objective', 'objective not stated')}, {len(journal.steps)} steps"]
    if journal.evaluations:
        last = journal.evaluations[-1]
        losses = [f"{name} {value:.3g}" for name, value in last.losses.items() if value is not None]
        said.append(f"held-out losses {', '.join(losses)} nats")
        right = [last.accuracy[group] * last.answers[group] for group in last.accuracy if group in last.answers]
        if total := sum(last.answers[group] for group in last.accuracy if group in last.answers):
            said.append(f"{100 * sum(right) / total:.1f} % right")
    return "; ".join(said)


def _diagnose(record: Measurement) -> str:
    rows = record.table("recommendation").set_index("setting")["choice"]
    chosen = [f"{name} {rows[name]}" for name in ("objective", "gamma", "lambda") if rows.get(name, "-") != "-"]
    return f"{rows['verdict']}: {', '.join(chosen)}" if chosen else str(rows["verdict"])


def _angles(record: Measurement) -> str:
    rows = record.table("bins")
    rows = rows[rows["scope"] == rows["scope"].iloc[0]].sort_values("bin")
    ends = [rows[f"angle_language_visual{prior}_mean_deg"].iloc[[0, -1]] for prior in ("", "_attached")]
    words = [f"{_degrees(one.iloc[0])} to {_degrees(one.iloc[1])}" for one in ends]
    return f"language-visual angle by bin: {words[0]} (detached), {words[1]} (attached)"


def _degrees(value: float) -> str:
    return "no angle" if np.isnan(value) else f"{value:.0f}\u00b0"


def _vds(record: Measurement) -> str:
    tokens = record.table("tokens")
    tokens = tokens[tokens["bin"] >= 0]
    return f"mean VDS {tokens['vds_nats'].mean():.3g} nats, the student's own {tokens['student_vds_nats'].mean():.3g}"


def _sensitivity(record: Measurement) -> str:
    rows = record.table("readings")
    row = rows[(rows["reading"] == "gamma_rise") & (rows["prior"] == "detached")].iloc[0]
    words = ["never" if np.isinf(row[name]) else f"{row[name]:.2g}" for name in ("estimate", "low", "high")]
    return f"language of the upper bins rises from gamma {words[0]} ({words[1]} to {words[2]})"


def _compare(record: Measurement) -> str:
    row = record.table("changes").set_index("bin").loc["all"]
    names = ("standard", "language", "visual")
    changes = [f"{name} {row[f'kl_{name}_change_mean_nats']:+.2g}" for name in names]
    return f"change of the losses over all bins: {', '.join(changes)} nats"


def _accuracy(record: Measurement) -> str:
    rows = record.table("rollouts")
    judged = rows[rows["correct"].notna()]
    return f"{100 * judged['correct'].astype(float).mean():.1f} % right of {len(judged)} answers"


def _study(record: Measurement) -> str:
    rows = record.table("verdicts")
    return f"{rows['arm'].nunique()} arms, {rows['seed'].nunique()} seeds"


_HEADLINES: Final[Mapping[str, Callable[[Measurement], str]]] = {
    "diagnose": _diagnose,
    "angles": _angles,
    "vds": _vds,
    "sensitivity": _sensitivity,
    "compare": _compare,
    "accuracy": _accuracy,
    "study": _study,
}
_TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "diagnose": ("recommendation",),
    "angles": ("bins",),
    "vds": ("tokens",),
    "sensitivity": ("readings",),
    "compare": ("changes",),
    "accuracy": ("rollouts",),
    "study": ("verdicts",),
}
"""Tables that a headline reads."""
