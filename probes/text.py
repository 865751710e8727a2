"""What the printed tables of several probes share."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

from records.columns import angle_statistic

ANGLE_TITLES = {
    "angle_language_visual": "lang-vis",
    "angle_language_visual_attached": "lang-vis att.",
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


def errors_of(errors: "pd.DataFrame", part: str) -> dict[Any, Any]:
    """Return the row of a scope or group in the table `sketch_error`, of several checkpoints the greatest of each."""
    return errors[errors["part"] == part].max().to_dict()


def with_error(row: Mapping[Any, Any], *angles: str) -> str:
    """Return the greatest of the mean errors of some angles, in degrees; nothing if none has an error."""
    errors = [row[f"{angle}_error_mean_deg"] for angle in angles]
    measured = [error for error in errors if not math.isnan(error)]
    return f"+-{max(measured):.2f}" if measured else ""


def sketch_line(row: Mapping[Any, Any]) -> str:
    """Return what the errors of a sketch mean, in one line."""
    names = {"detached": "angle_language_visual", "attached": "angle_language_visual_attached"}
    angles = [
        f"{row[f'{angle}_error_mean_deg']:.2f} degrees (at most {row[f'{angle}_error_max_deg']:.2f}) with q* {prior}"
        for prior, angle in names.items()
    ]
    share = max(value for name, value in row.items() if name.endswith("_error_mean_share"))
    return (
        f"sketch: compared with exact gradients of {row['n_units']} units. On average the language-visual angle of a"
        f" unit is off\nby {', by '.join(angles)}; norms by up to {100 * share:.1f} %."
    )


def cell(value: str | float | int) -> str:
    """Return a number with two digits, and all else as it is."""
    return f"{value:.2g}" if isinstance(value, float) else str(value)
