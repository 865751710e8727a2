"""The section about pairs with set gaps: its counts, its table, and the order of the differences."""

import json

import pandas as pd
import pytest

from cli.options import Parser, pick
from records import RecordError, open_record
from records.tables.phases import PHASES
from study.claims.conditions import section
from study.phases.__main__ import PhasesOptions
from study.phases.table import contrasts
from study.rules import GRID_SEEDS, LONG_ARMS, LONG_PAIRS, LONG_RUN
from tests.records.synthetic import HEADER

FILL = {"string": "", "int64": 8, "double": 0.0}
VERDICTS = ("lower", "equivalent", "undecided", "higher", "higher")


def rows(arm, slope, n_seeds=8):
    """Five pairs, whose language gap and difference grow together if the slope is positive."""
    made = []
    for number, verdict in enumerate(VERDICTS):
        one = {column.name: FILL[column.type] for column in PHASES.columns}
        one |= {
            "pair": f"p{number}",
            "arm": arm,
            "against": "standard",
            "quantity": "standard",
            "counts_as": verdict,
            "n_seeds": n_seeds,
        }
        one |= {
            "language_gap_nats": 0.1 * number,
            "visual_gap_nats": float((7 * number) % 5),
            "steered_deg": 20.0 - number,
        }
        value = slope * (number - 1)
        made += [one | {"difference": value, "low": value - 0.1, "high": value + 0.1}]
        made += [made[-1] | {"quantity": "visual", "difference": 99.0, "counts_as": "lower"}]
    return made


def record(folder, made, probe="study.phases", name="phases"):
    with open_record(folder / name, HEADER | {"probe": probe}) as writer:
        writer.finish({"phases": pd.DataFrame(made)[PHASES.names]}, {})
    return folder


def drop_column(folder, file, column):
    """Make a record one of a version without a column."""
    old = pd.read_csv(folder / file).drop(columns=column)
    old.to_csv(folder / file, index=False)
    content = json.loads((folder / "record.json").read_text())
    del content["hashes"], content["checksum"]
    (folder / "record.json").write_text(json.dumps(content | {"schema_version": 1}))


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


def test_longer_runs_are_judged_by_right_answers_contrast_by_contrast(tmp_path):
    made = [row | {"quantity": "correct"} for row in rows("vgs", 1.0) if row["quantity"] == "standard"]
    made += [row | {"arm": "vgs-lp-lambda-1", "against": "vgs-lp-gamma-0-lambda-1"} for row in made]
    text = section(record(tmp_path, made, name="phases_accuracy"))
    assert text.count("## When does steering help?") == 1 and "### Right answers after longer runs" in text
    assert "**vgs-lp-lambda-1 - vgs-lp-gamma-0-lambda-1**: " in text and "differences -1.0 to +3.0 points" in text
    assert "| p3 | vgs - standard | 0.0 | +2.0 [+1.9, +2.1] | 0.0 | 0 | harms |" in text
    assert "asks for 15 rows, and 15 are missing, first vgs - standard on language" in text


def test_all_rows_of_the_rules_are_whole(tmp_path):
    one = rows("vgs", 1.0)[0] | {"quantity": "correct"}
    names = [dict(zip(("arm", "against"), two, strict=True)) for two in contrasts(LONG_ARMS)]
    made = [one | two | {"pair": pair} for pair in LONG_PAIRS for two in names]
    assert "Interim" not in section(record(tmp_path, made, name="phases_accuracy"))


def test_a_rival_is_named_with_its_command(tmp_path):
    made = [row | {"quantity": "correct", "arm": "suppression"} for row in rows("vgs", 1.0)]
    text = section(record(tmp_path, made, name="phases_accuracy"))
    assert "`--pairs p0 p1 p2 p3 p4 --arms suppression`: `suppression`." in text
    text = section(record(tmp_path / "one", made[:1], name="phases_accuracy"))
    assert "**suppression - standard**: helps on the one pair; difference -1.0 points." in text


def test_what_is_not_judged_has_dashes(tmp_path):
    unknown = dict.fromkeys(("low", "high", "p", "detectable", "sd"), float("nan"))
    made = [row | unknown | {"quantity": "correct", "n_seeds": 1} for row in rows("vgs", 1.0)]
    text = section(record(tmp_path, made, name="phases_accuracy"))
    assert "asks for 8 seeds" in text and "nan" not in text and "| \u2013 | \u2013 |" in text


def test_rows_against_another_arm_are_not_those_of_the_grid(tmp_path):
    ours = rows("vgs", 0.01)
    other = [row | {"against": "vgs-frozen", "difference": 7.0} for row in ours]
    first = section(record(tmp_path / "one", ours))
    assert section(record(tmp_path / "two", ours + other)) == first


def test_a_table_of_another_version_is_refused_with_the_way_out(tmp_path):
    folder = record(tmp_path, rows("vgs", 0.01), name="phases_accuracy")
    drop_column(folder / "phases_accuracy", "phases.csv", "against")
    with pytest.raises(RecordError, match=r"misses columns: against: write it again with .*suite_accuracy"):
        section(folder)


def test_the_command_is_what_the_rules_name(tmp_path):
    text = section(
        record(tmp_path, [row | {"quantity": "correct"} for row in rows("vgs", 1.0)], name="phases_accuracy")
    )
    _, _, command = text.partition("`python -m study.phases --pairs ")
    words = command.partition("`")[0].split()
    parser = Parser("study.phases", "")
    parser.add_options(PhasesOptions)
    options = pick(parser.parse_args(["--pairs", *words]), PhasesOptions)
    assert (tuple(options.pairs), tuple(options.arms)) == (LONG_PAIRS, LONG_ARMS)
    assert {name: getattr(options, name) for name in LONG_RUN} == LONG_RUN and tuple(options.seeds) == tuple(GRID_SEEDS)
