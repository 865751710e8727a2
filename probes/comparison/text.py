"""Tables for the terminal: what changed between two students, in numbers."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from cli.tables import aligned
from records.tables.comparison import SIDES
from vlm.answers.judge import boxed_answer

if TYPE_CHECKING:
    from probes.measurement import Measurement

_LOSSES = {"standard": "kl_standard", "language": "kl_language", "visual": "kl_visual", "own VDS": "student_vds"}
_ANGLES = {
    "lang-vis": "angle_language_visual",
    "attached": "angle_language_visual_attached",
    "std-vis": "angle_standard_visual",
    "std-lang": "angle_standard_language",
    "prior-lang": "angle_prior_language",
}


def summary(measured: "Measurement", scope: str) -> str:
    """Return what the record has of losses, angles of one scope, and answers."""
    tables = measured.record["tables"]
    parts = [loss_changes(measured.changes)]
    if "angle_changes" in tables:
        parts.append(angle_changes(measured.angle_changes, scope))
    if "accuracy_changes" in tables:
        parts.append(accuracy_changes(measured.accuracy_changes))
    if "answers" in tables and not measured.accuracy_changes.empty:
        parts[-1] += f"\n{unboxed_changes(measured.answers)}"
    if "step_fits" in tables:
        parts.append(first_order(measured.step_fits))
    return "\n\n".join(parts)


def loss_changes(rows: pd.DataFrame) -> str:
    """The bins: each mean loss before, and its change with the half-width of the 95 % interval."""
    titles = ["bin", "tokens", "VDS", *(word for name in _LOSSES for word in (name, "change"))]
    lines = []
    for row in rows.to_dict("records"):
        cells = [cell for loss in _LOSSES.values() for cell in _nats(row, loss)]
        lines.append([row["bin"], str(row["n_tokens"]), f"{row['vds_mean_nats']:.2g}", *cells])
    caption = (
        "Mean losses before, in nats, and their change on the same tokens +- half of the 95 % interval over prompts."
    )
    return f"{caption}\n{aligned([titles, *lines])}"


def angle_changes(rows: pd.DataFrame, scope: str) -> str:
    """The bins of a scope: each mean angle before, and its change with the half-width of the 95 % interval."""
    titles = ["bin", "units", *(word for name in _ANGLES for word in (name, "change"))]
    lines = []
    for row in rows[rows["scope"] == scope].to_dict("records"):
        cells = [cell for angle in _ANGLES.values() for cell in _degrees(row, angle)]
        lines.append([row["bin"], str(row["n_units"]), *cells])
    caption = (
        "Mean angles before, in degrees, and their change at the same tokens +- half of the 95 % interval over"
        f" prompts; scope {scope}."
    )
    return f"{caption}\n{aligned([titles, *lines])}"


def accuracy_changes(rows: pd.DataFrame) -> str:
    """Groups of prompts: accuracy before and after, the change with its interval, answers gained and lost."""
    if rows.empty:
        return "No prompt has a known answer: no accuracy."
    titles = ["by", "", "prompts", "before %", "after %", "change", "95 % interval", "gained", "lost"]
    lines = []
    for row in rows.to_dict("records"):
        low, high = (row[f"accuracy_change_{end}_percent"] for end in ("low", "high"))
        ends = "" if math.isnan(low) else f"{low:+.1f} to {high:+.1f}"
        sides = [f"{row[f'accuracy_{side}_mean_percent']:.1f}" for side in ("before", "after")]
        counts = [str(row["n_gained"]), str(row["n_lost"])]
        change = f"{row['accuracy_change_mean_percent']:+.1f}"
        lines.append([row["by"], row["name"], str(row["n_prompts"]), *sides, change, ends, *counts])
    return f"Greedy accuracy; changes in percentage points.\n{aligned([titles, *lines])}"


def unboxed_changes(answers: pd.DataFrame) -> str:
    """How many responses of either side hold no box, and so count as wrong, where an answer is known."""
    judged = answers[answers["correct_before"].notna()]
    before, after = (sum(boxed_answer(text) is None for text in judged[f"response_{side}"]) for side in SIDES)
    return f"In no \\boxed{{}}, and so wrong: {before} of {len(judged)} answers before, {after} after."


def first_order(rows: pd.DataFrame) -> str:
    """How well the difference of the weights predicts each loss, over the bins."""
    titles = ["loss", "slope", "correlation", "relative error"]
    lines = [
        [row["loss"], *(f"{row[name]:.2f}" for name in ("slope", "correlation", "relative_error"))]
        for row in rows.to_dict("records")
    ]
    return f"Change of the bins' mean losses: measured against predicted to first order.\n{aligned([titles, *lines])}"


def _nats(row: Mapping, loss: str) -> list[str]:
    return [f"{row[f'{loss}_before_mean_nats']:.2g}", _change(row, loss, "nats", ".2g")]


def _degrees(row: Mapping, angle: str) -> list[str]:
    return [f"{row[f'{angle}_before_mean_deg']:.0f}", _change(row, angle, "deg", ".1f")]


def _change(row: Mapping, name: str, unit: str, form: str) -> str:
    mean, low, high = (row[f"{name}_change_{end}_{unit}"] for end in ("mean", "low", "high"))
    change = f"{mean:+{form}}"
    return change if math.isnan(low) else f"{change}+-{(high - low) / 2:{form}}"
