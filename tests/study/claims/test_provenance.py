"""A record under a claim's name that is another: of other weights, settings or arms, or swapped."""

import json
import shutil
from pathlib import Path

import pytest

from records import RecordError, open_record, read_record
from study.claims.__main__ import main
from study.claims.provenance import flags_of
from study.claims.sources import COMMANDS, RecordFolder

GALLERY = Path(__file__).resolve().parents[3] / "figures" / "gallery"
ANGLES = ("angles_second", "angles_blind")
STUDIES = tuple(name for name in COMMANDS if name.startswith("study") and (GALLERY / name).is_dir())


def copied(names, folder):
    """Records of the gallery under their own or other names."""
    for source, name in names.items():
        shutil.copytree(GALLERY / source, folder / name)
    return folder


def edited(name, folder, change):
    """A record of the gallery with another header, complete and whole."""
    record = read_record(GALLERY / name)
    header = json.loads(json.dumps(record.header))
    change(header)
    table = "bins" if name in ANGLES else "effects"
    with open_record(folder / name, header) as writer:
        writer.finish({table: record.table(table)}, {})
    return folder


def test_the_flags_of_each_command_are_those_that_a_header_states():
    assert flags_of(COMMANDS["angles_blind"]) == {"teacher": "runs/blind", "text_view": "blank"}
    assert flags_of(COMMANDS["study_small_rate"]) == {"lr": "1e-4"}
    stated = {"seed", "limit", "per_bin", "teacher", "text_view", "lr", "steps", "answers"}
    stated |= {"weight_average", "geometry_every"}
    assert all(set(flags_of(command)) <= stated for command in COMMANDS.values())


@pytest.mark.parametrize("name", [*ANGLES, *STUDIES])
def test_the_records_of_the_gallery_are_what_their_names_say(name):
    assert callable(RecordFolder(GALLERY).tables(name))


@pytest.mark.parametrize(
    ("source", "name", "field"),
    [
        ("angles_second", "angles_blind", "weights.teacher"),
        ("angles_blind", "angles_second", "weights.teacher"),
        ("angles", "angles_second", "settings.limit"),
        ("layers", "angles_second", "probe"),
        ("study", "angles_second", "probe"),
        ("angles_second", "study", "probe"),
        ("study_eta", "study", "settings.runs.*.steps"),
        ("study_small_rate", "study", "settings.runs.*.lr"),
        ("study", "study_small_rate", "settings.runs.*.lr"),
        ("study_blind", "study_cost", "weights.teacher"),
        ("study_cost", "study_eta", "settings.runs.*.steps"),
        ("study_cost", "study_blind", "weights.teacher"),
    ],
)
def test_a_record_under_another_name_is_refused(tmp_path, source, name, field, capsys):
    folder = copied({source: name}, tmp_path / "records")
    with pytest.raises(
        RecordError, match=rf"/{name}` must be the record that claims rest on, with `{field}`"
    ) as caught:
        RecordFolder(folder).tables(name)
    assert "\n" not in str(caught.value)
    assert main(["--records", str(folder), "--out", str(tmp_path / "page.md")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and not (tmp_path / "page.md").exists()


@pytest.mark.parametrize("name", ["angles_second", "study_cost"])
@pytest.mark.parametrize("side", ["student", "teacher"])
def test_other_weights_are_refused(tmp_path, name, side):
    folder = edited(name, tmp_path, lambda header: header["weights"].update({side: "0123456789abcdef"}))
    with pytest.raises(RecordError, match=f"with `weights.{side}` "):
        RecordFolder(folder).tables(name)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("seed", 2), ("limit", 64), ("bins", 5), ("unit", "corpus-bin"), ("text_view", "blank"), ("metric", "adam"),
     ("normalise", True), ("prompts", "mine.jsonl"), ("per_bin", 64)],
)  # fmt: skip
def test_other_settings_of_a_probe_are_refused(tmp_path, setting, value):
    folder = edited("angles_second", tmp_path, lambda header: header["settings"].update({setting: value}))
    with pytest.raises(RecordError, match=f"with `settings.{setting}` "):
        RecordFolder(folder).tables("angles_second")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("gamma", 3.0),
        ("lambda_", 1.0),
        ("lr", 0.1),
        ("steps", 7),
        ("objective", "vgs"),
        ("seed", 9),
        ("prior", "attached"),
    ],
)
def test_other_settings_of_a_run_are_refused(tmp_path, setting, value):
    run = "vgs-lp-0" if setting != "prior" else "standard-0"

    def change(header):
        header["settings"]["runs"][run][setting] = value

    folder = edited("study_cost", tmp_path, change)
    with pytest.raises(RecordError, match=rf"with `settings.runs.{run}.{setting}` "):
        RecordFolder(folder).tables("study_cost")


@pytest.mark.parametrize("runs", [{}, None, {"nothing-0": {}}, {"standard-x": {}}, {"standard-0": 1}])
def test_runs_that_are_none_are_refused(tmp_path, runs):
    folder = edited("study_cost", tmp_path, lambda header: header["settings"].update(runs=runs))
    with pytest.raises(RecordError, match="with `settings.runs` "):
        RecordFolder(folder).tables("study_cost")


def test_two_blind_teachers_are_refused(tmp_path):
    copied({"study_blind": "study_blind"}, tmp_path)
    edited("angles_blind", tmp_path, lambda header: header["weights"].update(teacher="0123456789abcdef"))
    records = RecordFolder(tmp_path)
    records.tables("study_blind")
    with pytest.raises(RecordError, match="angles_blind` must have the teacher of .*study_blind`"):
        records.tables("angles_blind")
