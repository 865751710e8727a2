"""The words that the captions of several pictures share."""

import pandas as pd

from figures.arms import INITIAL
from records import NULL_ANGLES, Measurement, angle_statistic


def pair(record: Measurement) -> str:
    """Name the student and the teacher."""
    names = record.header["pair"]
    return f"student {names['student']}, teacher {names['teacher'] or 'its own'}"


def parameters(scope: str) -> str:
    """Name the parameters that a scope holds.

    >>> parameters("all"), parameters("language_model")
    ('all parameters', 'parameters: language model')
    """
    return "all parameters" if scope == "all" else f"parameters: {scope.replace('_', ' ')}"


def metric(record: Measurement) -> str:
    """Say how gradients were multiplied; nothing if as usual."""
    name = record.header["settings"].get("metric", "plain")  # older records have no other
    return "" if name == "plain" else f"metric: {name.capitalize()}'s second moments"


def sketch(record: Measurement, part: str | None = None) -> str:
    """Say by how much the language-visual angle of a unit is off, if products were estimated; else nothing.

    part: a scope or a parameter group; by default the one with the greatest error.

    Raises:
        NoTable: the record has no measured error.
    """
    n_columns = record.header["settings"].get("sketch")
    if n_columns is None:
        return ""
    errors = record.table("sketch_error")
    errors = errors if part is None else errors[errors["part"] == part]
    most = float(errors[[f"{angle}_error_mean_deg" for angle in NULL_ANGLES]].max().max())
    return f"a unit's angles \u00b1 {most:.2f}\u00b0 from the sketch of {n_columns} columns"


def statistic(record: Measurement) -> str:
    """Return what a bin's angle is in a record: `mean` over its units, or `pooled`, of their summed Gram matrices."""
    return angle_statistic(record.header["settings"]["unit"])


def trained(record: Measurement, rows: pd.DataFrame) -> str:
    """Name the pair of a study, and how many seeds the rows have."""
    return f"{pair(record)} \u00b7 {seeds(rows)} per arm"


def seeds(rows: pd.DataFrame) -> str:
    """Say how many seeds the trained arms of a study have."""
    trained = rows[rows["arm"] != INITIAL]
    counts = (trained if len(trained) else rows).groupby("arm")["seed"].nunique()
    least, most = int(counts.min()), int(counts.max())
    return f"{least} seed{'s' if most > 1 else ''}" if least == most else f"{least} to {most} seeds"
