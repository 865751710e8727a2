"""Holm's adjustment of the p-values of several tests."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float], n_tests: int | None = None) -> list[float]:
    """Return adjusted p-values in the order of the input; all of a family are judged at one level.

    Args:
        p_values: nan, for a test that was not made, counts as 1 and stays nan.
        n_tests: size of the family, if tests are missing from the list; a missing test counts with p = 1.

    Raises:
        ValueError: the family is smaller than the list.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    size = len(p_values) if n_tests is None else n_tests
    if size < len(p_values):
        raise ValueError(f"`n_tests` must be at least the number of p-values, {len(p_values)}, got {size}")
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(np.where(np.isnan(values), 1.0, values), kind="stable")
    adjusted, highest = np.full(len(values), np.nan), 0.0
    for rank, place in enumerate(order):
        if np.isnan(values[place]):
            continue
        highest = max(highest, min(1.0, (size - rank) * values[place]))
        adjusted[place] = highest
    return [float(value) for value in adjusted]
