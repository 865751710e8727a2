"""The section about pairs with set gaps: its counts, its table, and the order of the differences."""

import pandas as pd
import pytest

from records import RecordError, open_record
from records.tables.phases import PHASES
from study.claims.conditions import section
from tests.records.synthetic import HEADER

FILL = {"string": "", "int64": 8, "double": 0.0}
VERDICTS = ("lower", "equivalent", "undecided", "higher", "higher")


def rows(arm, slope, n_seeds=8):
    """Five pairs, whose language gap and difference grow together if the slope is positive."""
    made = []
    for number, verdict in enumerate(VERDICTS):
        one = {column.name: FILL[column.type] for column in PHASES.columns}
        one |= {"pair": f"p{number}", "arm": arm, "quantity": "standard", "counts_as": verdict, "n_seeds": n_seeds}
        one |= {"language_gap_nats": 0.1 * number, "visual_gap_nats": float((7 * number) % 5), "steered_deg": 20.0 - number}
        value = slope * (number - 1)
        made += [one | {"difference": value, "low": value - 0.1, "high": value + 0.1}]
        made += [made[-1] | {"quantity": "visual", "difference": 99.0, "counts_as": "lower"}]
    return made


def record(folder, made, probe="study.phases"):
    with open_record(folder / "phases", HEADER | {"probe": probe}) as writer:
        writer.finish({"phases": pd.DataFrame(made)[PHASES.names]}, {})
    return folder


def test_without_the_record_there_is_no_section(tmp_path):
    assert section(tmp_path) == ""


def test_it_counts_the_pairs_and_shows_each_once(tmp_path):
    text = section(record(tmp_path, rows("vgs", 0.01) + rows("vgs-frozen", -0.01)))
    assert "**vgs**: helps on 1, harms on 2, no difference on 1, undecided on 1 of 5 pairs" in text
    assert "differences -0.0100 to +0.0300 nats" in text and "99" not in text and "Interim" not in text
    assert text.count("| p3 |") == 1 and "+0.0200 [-0.0800, +0.1200], harms" in text


def test_it_says_which_gap_orders_the_differences(tmp_path):
    text = section(record(tmp_path, rows("vgs", 0.01)))
    assert "| vgs | language gap | +1.00 |" in text
    assert "| vgs | angle between the standard and the steered gradient | -1.00 |" in text


def test_fewer_seeds_than_the_rule_asks_for_are_said(tmp_path):
    assert "asks for 8 seeds of each arm, and a pair here has 3" in section(record(tmp_path, rows("vgs", 0.01, 3)))


def test_the_record_of_another_probe_is_refused(tmp_path):
    with pytest.raises(RecordError, match="must be the record of `python -m study.phases`"):
        section(record(tmp_path, rows("vgs", 0.01), "probes.angles"))
