"""The diagnosis in the terminal: a reason stands by the row that it is about."""

import pandas as pd

from probes.diagnosis.findings import finding
from probes.diagnosis.text import finding_lines, not_in_trial_table

LONG = "another prompt's picture of the same size, for 16 of 24 prompts with a picture; 8 had no partner"


def lines_of(*reasons):
    rows = [finding("q", f"measure {n}", "nats", 1.0, reason=reason) for n, reason in enumerate(reasons)]
    return finding_lines(pd.DataFrame(rows)).splitlines()[1:]


def test_a_short_reason_stands_in_its_row():
    first, second = lines_of("briefly", "")
    assert first.endswith("briefly") and "measure 1" in second


def test_a_long_reason_stands_below_its_row():
    first, reason, second = lines_of(LONG, "briefly")
    assert "measure 0" in first and reason.strip() == LONG and "measure 1" in second


def test_a_long_reason_of_rows_that_follow_each_other_is_said_once_below_the_last():
    lines = lines_of(LONG, LONG, "", LONG)
    assert [line.strip() == LONG for line in lines] == [False, False, True, False, False, True]


def test_differences_that_the_table_of_the_trial_shows_are_left_out():
    reasons = ["minus standard's +0.1 (0 to 0.2), margin 0.01", "", LONG]
    rows = pd.DataFrame([finding("q", "m", "nats", 1.0, reason=reason) for reason in reasons])
    assert not_in_trial_table(rows)["reason"].tolist() == ["", LONG]
