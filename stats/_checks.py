"""Guards that several modules share. Each names the argument, what must hold, the value, and the way out."""

from typing import Any

import numpy as np


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is not between 0 and 1."""
    check_chances(confidence=confidence)


def check_chances(**chances: float) -> None:
    """Refuse chances that are not between 0 and 1."""
    for name, chance in chances.items():
        if not 0.0 < chance < 1.0:
            raise ValueError(f"`{name}` must lie between 0 and 1, got {chance}: give 0.95 for 95 %")


def check_resamples(n_resamples: int) -> None:
    """Refuse too few resamples for a standard error."""
    if not n_resamples >= 2:
        raise ValueError(f"`n_resamples` must be at least 2, got {n_resamples}: the default is 2000")


def names_of(units: Any, n_values: int, argument: str) -> np.ndarray:
    """Return what each value belongs to, `[n]`: numbers that are not nan, or strings.

    Raises:
        ValueError: there is not one for each value, or one is nan.
    """
    names = np.asarray(units)
    if names.shape != (n_values,):
        raise ValueError(
            f"`{argument}` must have one for each of {n_values} values, got shape {names.shape}: pair them"
        )
    if any(name != name for name in names.tolist()):
        raise ValueError(f"`{argument}` must hold names or numbers, got nan: number what has no name")
    return names


def one_axis(values: Any, argument: str = "values") -> np.ndarray:
    """Return numbers as a float64 array with one axis.

    Raises:
        ValueError: there are more axes, or none.
    """
    numbers = np.asarray(values, dtype=float)
    if numbers.ndim != 1:
        raise ValueError(f"`{argument}` must have one axis, got shape {numbers.shape}: flatten it")
    return numbers
