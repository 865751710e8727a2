"""Tables for the terminal: what the picture shows, in numbers."""

import math

import pandas as pd

_ANGLES = (
    ("angle_language_visual", "lang-vis"),
    ("angle_language_visual_attached", "attached"),
    ("angle_standard_visual", "std-vis"),
    ("angle_standard_language", "std-lang"),
    ("angle_prior_language", "prior-lang"),
)


def angle_table(bins: pd.DataFrame, scope: str) -> str:
    """The bins of one scope: mean divergences, then each angle's mean with the half-width of its 95 % interval."""
    rows = bins[bins["scope"] == scope].sort_values("bin")
    titles = ["bin", "units", "VDS", "standard", "language", "visual", *(t for _, t in _ANGLES), "null", "null att."]
    lines = [[_cell(row) for row in _cells(entry)] for entry in rows.to_dict("records")]
    caption = f"Mean angles in degrees +- half of the 95 % interval over prompts; divergences in nats; scope {scope}."
    return f"{caption}\n{aligned([titles, *lines])}"


def aligned(rows: list[list[str]]) -> str:
    """Rows of text in right-aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)


def _cells(row: dict) -> list[str | float | int]:
    divergences = [row[f"{name}_mean_nats"] for name in ("vds", "kl_standard", "kl_language", "kl_visual")]
    nulls = [f"{row[f'angle_language_visual{kind}_null_mean_deg']:.0f}" for kind in ("", "_attached")]
    angles = [_with_interval(row, angle) for angle, _ in _ANGLES]
    return [row["bin"], row["n_units"], *divergences, *angles, *nulls]


def _with_interval(row: dict, angle: str) -> str:
    mean, low, high = (row[f"{angle}_{name}_deg"] for name in ("mean", "low", "high"))
    return f"{mean:.0f}" if math.isnan(low) else f"{mean:.0f}+-{(high - low) / 2:.0f}"


def _cell(value: str | float | int) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
