"""A row of the table `findings`: one thing that was measured, by the question that it answers."""

from math import nan

from records.tables.diagnosis import FINDINGS

Row = dict[str, object]


def finding(
    question: str,
    measure: str,
    unit: str,
    value: float,
    low: float = nan,
    high: float = nan,
    verdict: str = "",
    reason: str = "",
) -> Row:
    """A row of the table `findings`."""
    return dict(zip(FINDINGS.names, (question, measure, unit, float(value), low, high, verdict, reason), strict=True))
