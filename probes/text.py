"""What the printed tables of several probes share."""

import math
from collections.abc import Mapping
from typing import Any

ANGLE_TITLES = {
    "angle_language_visual": "lang-vis",
    "angle_language_visual_attached": "attached",
    "angle_standard_visual": "std-vis",
    "angle_standard_language": "std-lang",
    "angle_prior_language": "prior-lang",
}


def with_interval(row: Mapping[Any, Any], angle: str) -> str:
    """Return an angle's mean with the half-width of its 95 % interval, in degrees."""
    mean, low, high = (row[f"{angle}_{name}_deg"] for name in ("mean", "low", "high"))
    return f"{mean:.0f}" if math.isnan(low) else f"{mean:.0f}+-{(high - low) / 2:.0f}"


def cell(value: str | float | int) -> str:
    """Return a number with two digits, and all else as it is."""
    return f"{value:.2g}" if isinstance(value, float) else str(value)
