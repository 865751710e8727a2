"""The folder of a run is read as a record is, and a record as before."""

import json

import pandas as pd
import pytest

from figures.gallery.rows import GALLERY
from records import NoTable, RecordError
from records.journal import JournalWriter
from records.run_folder import is_run, read_record_or_run, read_run, read_tokens, steps_with_tokens, write_tokens
from records.tables import TABLES
from tests.records.test_journal import evaluation, geometry, step

CONFIG = {
    "settings": {"student": "a", "teacher": "b", "objective": "vgs", "seed": 3},
    "weights": {"student": "1", "teacher": "2"},
}


@pytest.fixture
def run(tmp_path):
    """A run of one step with an evaluation."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    writer = JournalWriter(tmp_path, 0)
    writer.append(evaluation(0))
    writer.append(step(0))
    return tmp_path


def test_a_run_is_read_with_the_tables_that_its_journal_fills(run):
    read = read_record_or_run(run, "curves", "steps")
    assert set(read.record["tables"]) == {"curves", "steps", "evaluations"} == set(read.tables)
    assert read.header["probe"] == "train" and read.notes == {"unlearnt_since": None}
    assert set(read.curves["rollouts"]) == {"training", "fixed", "own"} and set(read.curves["arm"]) == {"vgs"}
    with pytest.raises(NoTable, match="no table `gradients`"):
        read_record_or_run(run, "gradients")
    assert set(read_run(run).tables) == {"curves", "steps", "evaluations", "gradients"}


def test_a_record_is_read_as_before():
    assert not is_run(GALLERY / "angles")
    assert list(read_record_or_run(GALLERY / "angles", "bins").tables) == ["bins"]
    with pytest.raises(NoTable, match="no table `layers`"):
        read_record_or_run(GALLERY / "angles", "layers")


def test_a_folder_with_neither_is_refused(tmp_path):
    assert not is_run(tmp_path)
    with pytest.raises(RecordError, match="holds no record"):
        read_record_or_run(tmp_path)


def test_tokens_are_kept_by_step(tmp_path):
    table = TABLES["tokens"]
    values = {"string": "a", "int64": 1, "double": 0.5, "bool": True}
    frame = pd.DataFrame([{column.name: values[column.type] for column in table.columns}])
    assert steps_with_tokens(tmp_path) == []
    for number in (50, 0, 1_000_000):
        write_tokens(tmp_path, number, frame.assign(vds_nats=float(number)))
    assert steps_with_tokens(tmp_path) == [0, 50, 1_000_000]
    assert read_tokens(tmp_path, 50)["vds_nats"].tolist() == [50.0]
    with pytest.raises(RecordError, match="cannot read"):
        read_tokens(tmp_path, 7)


def test_what_a_monitor_adds_to_a_geometry_line_becomes_columns(tmp_path):
    """Of a trainer's lines there are no such columns."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    of_null = {"angle_deg": 80.0, "null_deg": 90.0, "difference_deg": -10.0, "error_deg": 2.0, "n_pairs": 8}
    norms = dict.fromkeys(("standard", "language", "visual", "prior", "shift"), 1.0)
    angles = dict.fromkeys(
        [f"angle_{a}" for a in ("language_visual", "standard_visual", "standard_language", "prior_language")]
        + [f"angle_{a}_attached" for a in ("language_visual", "standard_visual")],
        60.0,
    )
    plain = geometry(0)
    line = type(plain)(0, {"all": norms}, {"all": angles}, {}, {}, 1.0)
    writer = JournalWriter(tmp_path, 0, every_step=False)
    writer.append(line)
    assert not [name for name in read_run(tmp_path).gradients if "null" in name or name == "eta"]
    against = {"all": {"upper": {"angle_language_visual": of_null}}}
    later = type(plain)(5, {"all": norms}, {"all": angles}, {}, {}, 1.0, gamma=2.0, eta=0.4, against_null=against)
    writer.append(later)
    rows = read_run(tmp_path).gradients
    assert rows["eta"].isna().tolist() == [True, False] and rows["eta"].iloc[1] == 0.4
    assert rows["angle_language_visual_upper_minus_null_deg"].iloc[1] == -10.0
    assert rows["angle_language_visual_upper_minus_null_error_deg"].iloc[1] == 2.0
    assert "angle_language_visual_all_minus_null_deg" not in rows
