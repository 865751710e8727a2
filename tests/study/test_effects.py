"""A record of a study is judged again from its own tables."""

import pandas as pd
import pytest

import study
from records import read_record
from records.tables.study import TABLES
from study import effects
from study.comparison import compare_arms
from tests.figures.studies import write_study

ARMS, SEEDS = ("standard", "vgs", "vgs-lp"), (0, 1, 2)


@pytest.fixture
def old(tmp_path):
    """A record whose effects say nothing yet."""
    folder = write_study(tmp_path / "old", ARMS, SEEDS)
    assert set(read_record(folder, "effects").effects["counts_as"]) <= {"better", "undecided"}
    return folder


def test_it_takes_the_place_of_the_old_one(old):
    before = read_record(old, *TABLES)
    found = study.record(old)
    expected = compare_arms(before.curves, before.verdicts)
    pd.testing.assert_frame_equal(found.effects, expected, check_dtype=False, rtol=1e-12)
    assert found.path == old and found.header == before.header
    for name in set(TABLES) - {"effects"}:
        pd.testing.assert_frame_equal(found.table(name), before.table(name))


def test_it_can_be_written_elsewhere_and_be_the_primary_one(old, tmp_path, capsys):
    assert effects.main([str(old), "--primary", "--out", str(tmp_path / "new")]) == 0
    found = read_record(tmp_path / "new", "effects").effects.query("kind == 'primary'")
    assert found[["arm", "against", "quantity", "where"]].to_numpy().tolist() == [
        ["vgs", "standard", "correct", "high"]
    ]
    assert "primary" not in set(read_record(old, "effects").effects["kind"])
    assert capsys.readouterr().out.splitlines()[-1] == f"next: python -m figures {tmp_path / 'new'}"


def test_an_incomplete_record_is_one_line(old, capsys):
    (old / "record.json").write_text((old / "record.json").read_text().replace('"complete": true', '"complete": false'))
    assert effects.main([str(old)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
