"""What a monitor says of a measurement: the numbers for trackers, a line for people, and the warning."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from probes.monitoring.measuring import UPPER, Measured
from records.journal_lines import EvaluationLine, GeometryLine
from records.unlearning import unlearnt_since
from stats import bins_label

_LANGUAGE_VISUAL = "angle_language_visual"
CONFLICT_DEG = 90.0
"""Angle above which a step along one gradient raises the loss of the other, to first order."""


def numbers(measured: Measured) -> dict[str, float]:
    """Return the headline numbers by name, for trackers: those that are finite."""
    evaluation, geometry = measured.evaluation, measured.geometry
    norms, angles = geometry.norms["all"], geometry.angles_deg["all"]
    named: dict[str, float | None] = {f"norm_{name}": norms[name] for name in ("standard", "visual", "language")}
    named |= {f"{_LANGUAGE_VISUAL}_deg": angles[_LANGUAGE_VISUAL], "eta": geometry.eta}
    for tokens, by_angle in (geometry.against_null or {}).get("all", {}).items():
        for angle, one in by_angle.items():
            named[f"{angle}_{tokens}_minus_null_deg"] = one["difference_deg"]
    named |= {f"{loss}_upper_nats": upper_mean(evaluation, loss) for loss in ("visual", "language")}
    if evaluation.language_rise is not None:
        named["language_rise_nats"] = evaluation.language_rise.mean_nats
    return {f"monitor/{name}": value for name, value in named.items() if value is not None and math.isfinite(value)}


def upper_mean(line: EvaluationLine, loss: str) -> float | None:
    """Return a loss of the fixed responses over the upper bins, in nats; each bin counts alike."""
    values = [value for number in UPPER if (value := line.losses_by_bin[loss][number]) is not None]
    return float(np.mean(values)) if values else None


def line_of(measured: Measured) -> str:
    """Return a line about a measurement."""
    named = {name.removeprefix("monitor/"): value for name, value in numbers(measured).items()}
    parts = [
        ("language-visual angle {:.0f} degrees", f"{_LANGUAGE_VISUAL}_deg"),
        ("{:+.0f} from the null", f"{_LANGUAGE_VISUAL}_all_minus_null_deg"),
        (f"{{:+.0f}} on {bins_label(UPPER)}", f"{_LANGUAGE_VISUAL}_upper_minus_null_deg"),
        ("eta {:.2f}", "eta"),
        (f"{bins_label(UPPER)}: visual loss {{:.3g}}", "visual_upper_nats"),
        ("language loss {:.3g} nats", "language_upper_nats"),
    ]
    said = ", ".join(words.format(named[name]) for words, name in parts if name in named)
    return f"monitor: step {measured.step}: {said}"


def warning(evaluations: Sequence[EvaluationLine], geometry: GeometryLine) -> str:
    """Say that language is being unlearnt, since when, and what to change; empty where it is not.

    evaluations: all so far, the last of the present weights. geometry: of the present weights.
    """
    since = unlearnt_since(evaluations)
    rise = evaluations[-1].language_rise if evaluations else None
    if since is None or rise is None:
        return ""
    return (
        f"warning: step {evaluations[-1].step}: language is being unlearnt: the language loss on {bins_label(UPPER)}"
        f" has risen by {rise.mean_nats:.2g} nats ({rise.low_nats:.2g} to {rise.high_nats:.2g}) from"
        f" {rise.first_nats:.2g}, and is above its start since step {since}. {_cause(geometry.angles_deg['all'])}"
        f" or go back to a checkpoint before step {since}"
    )


def _cause(angles_deg: Mapping[str, float | None]) -> str:
    """Say which gradient works against the language gradient, and what to change."""
    preserve = "raise lambda (language preservation; 1 held language on the bundled pair, 0.01 did not)"
    for name, of, change in (
        (_LANGUAGE_VISUAL, "visual", f"{preserve}, lower gamma,"),
        ("angle_standard_language", "standard", f"{preserve}, lower the learning rate,"),
    ):
        angle = angles_deg[name]
        if angle is not None and angle > CONFLICT_DEG:
            return f"A step along the {of} gradient, {angle:.0f} degrees from language, raises it further: {change}"
    return f"No step along the visual or standard gradient raises it now: {preserve}, lower gamma or the learning rate,"
