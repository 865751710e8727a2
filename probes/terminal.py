"""Tables for the terminal: what the picture shows, in numbers."""

import math

import pandas as pd

from cli.tables import aligned

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


def layer_table(layers: pd.DataFrame, scope: str) -> str:
    """The groups of a scope over all bins: mean norms, shares of the squared norm, angles with half-widths."""
    rows = layers[(layers["bin"] == "all") & (layers["in_language_model"] | (scope == "all"))]
    objectives = ("standard", "language", "visual")
    titles = ["group", "units", *(f"|{name}|" for name in objectives), *(f"{name} %" for name in objectives)]
    lines = []
    for row in rows.to_dict("records"):
        lengths = [row[f"norm_{name}_mean"] for name in objectives]
        shares = [f"{100 * row[f'share_{name}_mean']:.1f}" for name in objectives]
        angles = [_with_interval(row, angle) for angle, _ in _ANGLES[:4]]
        lines.append([_cell(value) for value in (row["group"], row["n_units"], *lengths, *shares, *angles)])
    caption = (
        "Over all bins: mean norms, mean shares of the whole gradient's squared norm, and mean angles in degrees"
        f" +- half of the 95 % interval over prompts; scope {scope}."
    )
    return f"{caption}\n{aligned([[*titles, *(title for _, title in _ANGLES[:4])], *lines])}"


def norm_table(norms: pd.DataFrame, scope: str) -> str:
    """The checkpoints over all bins: mean divergences, mean norms their ratio, angles."""
    rows = norms[(norms["bin"] == "all") & (norms["scope"] == scope)]
    means = ("vds", "kl_standard", "kl_language", "kl_visual")
    objectives = ("standard", "language", "visual")
    titles = ["", "checkpoint", "VDS", *objectives, *(f"|{name}|" for name in objectives), "lang/vis"]
    lines = []
    for row in rows.to_dict("records"):
        nats = [row[f"{name}_mean_nats"] for name in means]
        lengths = [row[f"norm_{name}_mean"] for name in objectives]
        angles = [_with_interval(row, angle) for angle, _ in _ANGLES]
        values = (row["checkpoint"], row["name"], *nats, *lengths, row["norm_ratio_language_visual"], *angles)
        lines.append([_cell(value) for value in values])
    caption = (
        "Over all bins: mean divergences in nats, mean norms, ratio of the mean norms, and mean angles in degrees"
        f" +- half of the 95 % interval over prompts; scope {scope}."
    )
    return f"{caption}\n{aligned([[*titles, *(title for _, title in _ANGLES)], *lines])}"


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
