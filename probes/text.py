"""What the printed tables of several probes share."""

import math
from collections.abc import Mapping
from typing import Any

from records.columns import angle_statistic

ANGLE_TITLES = {
    "angle_language_visual": "lang-vis",
    "angle_language_visual_attached": "attached",
    "angle_standard_visual": "std-vis",
    "angle_standard_language": "std-lang",
    "angle_prior_language": "prior-lang",
}


def angle_words(unit: str) -> str:
    """Return the words of a caption for the angles of a kind of unit.

    >>> angle_words("token")
    'mean angles in degrees'
    >>> angle_words("signed-bin")
    'pooled angles (of the summed Gram matrices, not means over tokens) in degrees'
    """
    statistic = angle_statistic(unit)
    note = "" if statistic == "mean" else " (of the summed Gram matrices, not means over tokens)"
    return f"{statistic} angles{note} in degrees"


def with_interval(row: Mapping[Any, Any], angle: str) -> str:
    """Return the angle of a row with the half-width of its 95 % interval, in degrees."""
    mean, low, high = (row[f"{angle}_{name}_deg"] for name in ("mean", "low", "high"))
    return f"{mean:.0f}" if math.isnan(low) else f"{mean:.0f}+-{(high - low) / 2:.0f}"


def cell(value: str | float | int) -> str:
    """Return a number with two digits, and all else as it is."""
    return f"{value:.2g}" if isinstance(value, float) else str(value)
