"""Slope, rank correlation, coverage and the table of verdicts, on tables whose scores are known by hand."""

import numpy as np
import pytest

from study.validation.reading import LOSS, POINTS
from study.validation.scores import (
    HARMS,
    HELPS,
    SAME,
    UNCLEAR,
    confusion,
    coverage,
    numbers,
    outcome,
    over_pairs,
    rank_correlation,
    slope,
)
from tests.study.validation.tables import line, row, table


@pytest.mark.parametrize("factor", [2.0, 0.5, -1.0])
def test_on_a_line(factor):
    rows = line(6, factor)
    assert slope(numbers(rows)) == pytest.approx(factor) and rank_correlation(numbers(rows)) == pytest.approx(
        np.sign(factor)
    )
    result = over_pairs(rows, slope)
    assert (result.low, result.high) == (pytest.approx(factor), pytest.approx(factor))


def test_by_hand():
    """Predicted 0, 1, 2 and realised 0, 3, 3: slope 3 / 2; ranks 1, 2, 3 and 1, 2.5, 2.5: correlation sqrt(3) / 2."""
    rows = table(*(row(f"p{x}", predicted=x, **{LOSS: y}) for x, y in ((0.0, 0.0), (1.0, 3.0), (2.0, 3.0))))
    assert slope(numbers(rows)) == pytest.approx(1.5) and rank_correlation(numbers(rows)) == pytest.approx(
        np.sqrt(3) / 2
    )


def test_coverage_by_hand():
    """Of three realised losses one lies outside 0.2 either way of what was predicted."""
    rows = table(row("a", **{LOSS: 0.19}), row("b", **{LOSS: -0.2}), row("c", **{LOSS: 0.21}))
    assert coverage(numbers(rows)) == pytest.approx(2 / 3)


def test_what_does_not_vary_has_no_slope_and_nothing_no_coverage():
    rows = table(row("a"), row("b"))
    assert (
        np.isnan(slope(numbers(rows)))
        and np.isnan(rank_correlation(numbers(rows)))
        and np.isnan(coverage(numbers(rows[:0])))
    )


def test_one_pair_has_no_interval():
    result = over_pairs(table(row("a"), row("a", predicted=1.0, **{LOSS: 2.0})), slope)
    assert result.estimate == pytest.approx(2.0) and np.isnan(result.low)


def test_settings_of_a_pair_are_resampled_together():
    """Two pairs of many equal rows: the interval is that of two values, not of forty."""
    rows = table(*(row("a", **{LOSS: 0.0}) for _ in range(20)), *(row("b", **{LOSS: 0.4}) for _ in range(20)))
    result = over_pairs(rows, coverage)
    assert (result.estimate, result.low, result.high) == (0.5, 0.0, 1.0)


@pytest.mark.parametrize(
    ("low", "high", "endpoint", "came"),
    [
        (-0.3, -0.1, LOSS, HELPS),
        (0.1, 0.3, LOSS, HARMS),
        (-0.01, 0.01, LOSS, SAME),
        (-0.03, 0.01, LOSS, UNCLEAR),
        (0.1, 3.0, POINTS, HELPS),
        (-3.0, -0.1, POINTS, HARMS),
        (-1.9, 1.9, POINTS, SAME),
        (-1.9, 2.1, POINTS, UNCLEAR),
        (np.nan, np.nan, LOSS, UNCLEAR),
    ],
)
def test_an_outcome(low, high, endpoint, came):
    assert outcome(low, high, endpoint) == came


def test_the_table_of_verdicts():
    rows = table(
        row("a", trial="passes", **{LOSS: -0.2}),
        row("b", trial="passes", **{LOSS: 0.2}),
        row("c", trial="language above standard", **{LOSS: 0.2}),
        row("d", trial="no gain", **{LOSS: 0.0}),
        row("e", trial="undecided", **{LOSS: np.nan}),
    )
    counts = confusion(rows, LOSS)
    assert counts.loc["passes"].to_dict() == {HELPS: 1, SAME: 0, HARMS: 1, UNCLEAR: 0}
    assert counts.loc["fails"].to_dict() == {HELPS: 0, SAME: 0, HARMS: 1, UNCLEAR: 1}
    assert counts.loc["undecided"].sum() == 0 and confusion(rows, POINTS).to_numpy().sum() == 5
