"""A small picture where a folder has none: the losses of a run over its evaluations, the angles of a diagnosis."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from records import Measurement
from records.journal_lines import Journal

Lines = Mapping[str, Sequence[float]]
"""Values from left to right, by the objective whose colour they have."""
WIDTH, HEIGHT, MARGIN = 140, 84, 8
_ANGLES: Final = {"language": "angle_language_visual_mean_deg", "visual": "angle_language_visual_attached_mean_deg"}


def lines_of_run(journal: Journal) -> Lines:
    """Return the language and visual loss of the held-out responses, each as a share of its greatest value."""
    lines: dict[str, Sequence[float]] = {}
    for name in ("language", "visual"):
        values = np.array([line.losses.get(name) for line in journal.evaluations], dtype=float)
        if len(values) > 1 and np.isfinite(values).all() and values.max() > 0:
            lines[name] = (values / values.max()).tolist()
    return lines


def lines_of_record(record: Measurement) -> Lines:
    """Return the language-visual angle by bin as a share of 180 degrees, q* detached and attached."""
    if not record.has("bins"):
        return {}
    rows = record.table("bins")
    rows = rows[rows["scope"] == rows["scope"].iloc[0]].sort_values("bin")
    lines = {name: rows[column].to_numpy() / 180.0 for name, column in _ANGLES.items()}
    return {name: values.tolist() for name, values in lines.items() if len(values) > 1 and np.isfinite(values).all()}


def polylines(lines: Lines) -> dict[str, str]:
    """Return the points of each line, for an SVG of `WIDTH` by `HEIGHT`.

    >>> polylines({"visual": [0.0, 1.0]})
    {'visual': '8.0,76.0 132.0,8.0'}
    """
    return {name: _points(values) for name, values in lines.items()}


def _points(values: Sequence[float]) -> str:
    x = np.linspace(MARGIN, WIDTH - MARGIN, len(values))
    y = MARGIN + (HEIGHT - 2 * MARGIN) * (1.0 - np.asarray(values))
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
