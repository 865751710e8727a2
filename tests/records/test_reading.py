"""A measurement read back: its tables as attributes, subfolders, old names, and the record of a header."""

import copy
import json
import pickle
from pathlib import Path

import pandas as pd
import pytest

from records import Measurement, NoTable, RecordError, complete_record, fingerprint, open_record, read_record
from records.table import Table
from tests.records.synthetic import HEADER, tables, write_record

OTHER = HEADER | {"settings": HEADER["settings"] | {"seed": 1}}
OLD = HEADER | {"probe": "train.study", "settings": {"seed": 0, "probe_per_bin": 64}}
NEW = HEADER | {"probe": "study", "settings": {"seed": 0, "per_bin": 64}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_record(tmp_path_factory.mktemp("read") / "record")


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The tables that are read from disk, in order."""
    names: list[str] = []
    read = Table.read

    def counted(table: Table, folder: Path) -> pd.DataFrame:
        names.append(table.name)
        return read(table, folder)

    monkeypatch.setattr(Table, "read", counted)
    return names


def put(folder: Path, *names: str, header: dict = HEADER) -> Path:
    """Write a record with some tables."""
    with open_record(folder, header) as writer:
        writer.finish({name: tables()[name] for name in names}, {})
    return folder


# --- tables as attributes ---


def test_tables_are_read_on_first_use(folder, reads):
    record = read_record(folder, "bins")
    assert reads == ["bins"] and set(record.tables) == {"bins"}
    assert record.bins is record.bins is record.tables["bins"] is record.table("bins")
    pd.testing.assert_frame_equal(record.tokens, tables()["tokens"], check_exact=True)
    assert record.tokens is record.tables["tokens"]
    assert reads == ["bins", "tokens"]


def test_header_and_notes(folder):
    record = read_record(folder)
    assert record.header == HEADER and record.notes == {"threads": 1, "seconds": 12.5}


def test_a_table_that_is_not_there_names_its_command(tmp_path):
    record = read_record(put(tmp_path, "bins"))
    with pytest.raises(RecordError, match=r"the record in .* has no table `layers`: `python -m probes.layers`"):
        _ = record.layers
    with pytest.raises(RecordError, match="`table` must be one of rollouts, .*, not 'bin'"):
        _ = record.bin
    assert not hasattr(record, "layers") and not hasattr(record, "bin") and hasattr(record, "bins")
    assert getattr(record, "layers", None) is None


def test_a_record_without_its_file_is_an_error_not_an_absence(tmp_path):
    record = read_record(put(tmp_path, "bins"))
    (tmp_path / "bins.csv").unlink()
    with pytest.raises(RecordError, match="cannot read") as raised:
        hasattr(record, "bins")
    assert not isinstance(raised.value, AttributeError)


def test_a_measurement_in_memory_has_its_tables_only():
    record = Measurement(None, {"header": HEADER}, {"bins": tables()["bins"]})
    assert len(record.bins) == 20 and record.where == "the record in memory"
    with pytest.raises(NoTable, match="the record in memory has no table `tokens`: `python -m probes.angles` writes"):
        _ = record.tokens


def test_copies_pickles_and_displays(folder):
    record = read_record(folder, "bins")
    for again in (copy.copy(record), copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
        assert again.path == folder and again.header == HEADER
        pd.testing.assert_frame_equal(again.bins, record.bins)
    assert not hasattr(record, "_repr_html_") and not hasattr(record, "_ipython_display_")
    assert "angle_language_visual" not in repr(record)
    assert {"bins", "tokens", "header"} <= set(dir(record))


# --- subfolders ---


def test_the_only_subfolder_with_the_tables_is_read(tmp_path):
    put(tmp_path / "angles", "bins", "tokens")
    put(tmp_path / "layers", "layers")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "record.json").write_text("no json")
    assert read_record(tmp_path, "bins").path == tmp_path / "angles"
    assert read_record(tmp_path, "layers").path == tmp_path / "layers"
    with pytest.raises(RecordError, match="holds no record: write one with `python -m probes.norms --out"):
        read_record(tmp_path, "norms")


def test_incomplete_records_in_subfolders_are_passed_over(tmp_path):
    put(tmp_path / "a", "bins")
    open_record(tmp_path / "b", HEADER).close()
    assert read_record(tmp_path, "bins").path == tmp_path / "a"


def test_several_records_in_subfolders_are_listed(tmp_path):
    put(tmp_path / "a", "bins")
    put(tmp_path / "b", "bins", "tokens")
    with pytest.raises(RecordError, match="holds several records with these tables: name one of `.*/a`, `.*/b`"):
        read_record(tmp_path, "bins")
    assert read_record(tmp_path, "bins", "tokens").path == tmp_path / "b"


def test_a_record_in_the_folder_itself_comes_first(tmp_path):
    put(tmp_path, "tokens")
    put(tmp_path / "inner", "bins")
    with pytest.raises(RecordError, match="has no table `bins`"):
        read_record(tmp_path, "bins")


# --- old names ---


def as_of_old(content: dict) -> dict:
    """Return record.json of version 1."""
    kept = {name: value for name, value in content.items() if name not in ("hashes", "checksum")}
    return kept | {"schema_version": 1}


def write_old(folder: Path, complete: bool) -> bytes:
    """Write a record and put old names into its record.json, as if it were of that time; return the file."""
    with open_record(folder, NEW) as writer:
        writer.add("work", 0, pd.DataFrame({"row": [1]}))
        if complete:
            writer.finish({"bins": tables()["bins"]}, {})
    path = folder / "record.json"
    path.write_text(
        json.dumps(as_of_old(json.loads(path.read_text()) | {"header": OLD, "fingerprint": fingerprint(OLD)}))
    )
    return path.read_bytes()


def test_old_names_are_read_as_new_ones(tmp_path):
    written = write_old(tmp_path, complete=True)
    record = read_record(tmp_path, "bins")
    assert record.header == NEW and record.record["fingerprint"] == fingerprint(OLD)
    assert complete_record(tmp_path, NEW) is not None and complete_record(tmp_path, OLD) is not None
    assert (tmp_path / "record.json").read_bytes() == written


@pytest.mark.parametrize("header", [NEW, OLD])
def test_a_record_begun_under_old_names_is_continued(tmp_path, header):
    write_old(tmp_path, complete=False)
    with open_record(tmp_path, header) as writer:
        assert writer.has("work", 0) and writer.header == NEW


# --- the record of a header ---


def test_a_complete_record_is_found_by_its_header(folder, reads):
    record = complete_record(folder, HEADER)
    assert record is not None and record.path == folder and reads == []
    pd.testing.assert_frame_equal(record.bins, tables()["bins"])


def test_no_record_an_incomplete_and_another_are_none(tmp_path, folder):
    assert complete_record(tmp_path / "nowhere", HEADER) is None
    assert complete_record(folder, OTHER) is None
    open_record(tmp_path, HEADER).close()
    assert complete_record(tmp_path, HEADER) is None


def test_a_strangers_record_json_is_refused(tmp_path):
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(RecordError, match="is no record of ours"):
        complete_record(tmp_path, HEADER)
