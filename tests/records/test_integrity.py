"""A record is held against what it says of itself: its header, its tables, whether it is complete."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from records import RecordError, complete_record, fingerprint, open_record, read_record
from records.__main__ import main
from tests.records.synthetic import HEADER, tables, write_record
from tests.records.test_reading import as_of_old

OTHER = HEADER | {"settings": HEADER["settings"] | {"seed": 1}}
NAMES = ("tokens", "bins", "units")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Two records of the same tables, one with other numbers."""
    folder = tmp_path_factory.mktemp("two")
    for name, header, seed in (("ours", HEADER, 0), ("other", OTHER, 1)):
        with open_record(folder / name, header) as writer:
            writer.finish({table: tables(seed)[table] for table in NAMES}, {"threads": 1})
    return folder


@pytest.fixture(params=[2, 1], ids=["hashed", "of version 1"])
def ours(request, written, tmp_path) -> Path:
    """A copy of the first, as it is written today and as earlier versions left it."""
    folder = shutil.copytree(written / "ours", tmp_path / "ours")
    if request.param == 1:
        edit(folder, lambda content: as_of_old(content))
    return folder


def edit(folder: Path, change) -> None:
    path = folder / "record.json"
    path.write_text(json.dumps(change(json.loads(path.read_text())), indent=2))


def with_(name: str, value):
    return lambda content: content | {name: value}


def without(name: str):
    return lambda content: {key: value for key, value in content.items() if key != name}


def in_header(**changes):
    return lambda content: content | {"header": content["header"] | changes}


# --- tables ---


def cut_at_a_line(folder: Path) -> None:
    lines = (folder / "bins.csv").read_bytes().split(b"\n")
    (folder / "bins.csv").write_bytes(b"\n".join(lines[:11]) + b"\n")


def without_rows(folder: Path) -> None:
    (folder / "bins.csv").write_bytes((folder / "bins.csv").read_bytes().split(b"\n")[0] + b"\n")


def half_of_the_tokens(folder: Path) -> None:
    rows = pd.read_parquet(folder / "tokens.parquet")
    rows.iloc[: len(rows) // 2].to_parquet(folder / "tokens.parquet", index=False)


def doubled(folder: Path) -> None:
    rows = pd.read_parquet(folder / "units.parquet")
    pd.concat([rows, rows]).to_parquet(folder / "units.parquet", index=False)


def gone(folder: Path) -> None:
    (folder / "tokens.parquet").unlink()


def torn(folder: Path) -> None:
    content = (folder / "units.parquet").read_bytes()
    (folder / "units.parquet").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("change", [cut_at_a_line, without_rows, half_of_the_tokens, doubled, gone, torn])
def test_a_table_that_lost_or_gained_rows_is_refused(ours, change):
    change(ours)
    with pytest.raises(RecordError, match=r"(bins.csv|tokens.parquet|units.parquet)`") as caught:
        read_record(ours, *NAMES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["bins.csv", "tokens.parquet", "units.parquet"])
def test_a_table_of_another_record_is_refused(written, tmp_path, name):
    folder = shutil.copytree(written / "ours", tmp_path / "ours")
    shutil.copy(written / "other" / name, folder / name)
    with pytest.raises(RecordError, match=f"{name}` must be the file that the record was finished with, got another"):
        read_record(folder, name.partition(".")[0])


def test_one_number_that_was_changed_is_seen(written, tmp_path):
    folder = shutil.copytree(written / "ours", tmp_path / "ours")
    path = folder / "bins.csv"
    path.write_text(path.read_text().replace("64", "65", 1))
    with pytest.raises(RecordError, match="bins.csv` must be the file"):
        read_record(folder, "bins")
    assert len(read_record(folder, "tokens").tokens) == 4  # what was not changed is still read


# --- record.json ---

EDITS = {
    "a setting": lambda content: in_header(settings=content["header"]["settings"] | {"seed": 7})(content),
    "the weights": in_header(weights={"student": "0" * 12, "teacher": "0" * 12}),
    "the pair": in_header(pair={"student": "mine", "teacher": "yours"}),
    "the probe": in_header(probe="probes.layers"),
    "a field more": in_header(extra=1),
    "the fingerprint": with_("fingerprint", "0123456789ab"),
    "no fingerprint": with_("fingerprint", None),
    "no header": with_("header", None),
    "null tables": with_("tables", None),
    "tables as a list": with_("tables", ["bins"]),
    "rows in words": with_("tables", {"bins": "many"}),
    "fewer than no rows": with_("tables", {"bins": -1}),
    "rows that are true": with_("tables", {"bins": True}),
    "notes as text": with_("notes", "none"),
    "settings as a list": in_header(settings=[]),
    "pair as text": in_header(pair="student"),
    "a probe that is a number": in_header(probe=3),
    "no notes": without("notes"),
    "no tables": without("tables"),
    "version true": with_("schema_version", True),
    "version in words": with_("schema_version", "2"),
    "version of a real number": with_("schema_version", 1.0),
} | {f"complete {value!r}": with_("complete", value) for value in ("true", "false", 1, 0, 1.0, None, [], {"a": 1})}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_record_json_is_refused(ours, name):
    edit(ours, EDITS[name])
    with pytest.raises(RecordError, match=r"record.json` (has|is|was)") as caught:
        read_record(ours)
    assert "\n" not in str(caught.value)
    with pytest.raises(RecordError):
        complete_record(ours, HEADER)


SEALED = {
    "rows": lambda content: content | {"tables": {**content["tables"], "bins": 10}},
    "a table less": lambda content: content | {"tables": {"bins": 20}},
    "a hash": lambda content: content | {"hashes": {**content["hashes"], "bins": "0" * 64}},
    "hashes in words": lambda content: content | {"hashes": dict.fromkeys(content["hashes"], "x")},
    "no hashes": without("hashes"),
    "null hashes": with_("hashes", None),
    "no checksum": without("checksum"),
    "notes": with_("notes", {"threads": 64}),
    "header and fingerprint": lambda content: content | {"header": OTHER, "fingerprint": fingerprint(OTHER)},
}


@pytest.mark.parametrize("name", SEALED)
def test_what_the_checksum_covers_cannot_be_edited(written, tmp_path, name):
    folder = shutil.copytree(written / "ours", tmp_path / "ours")
    edit(folder, SEALED[name])
    with pytest.raises(RecordError, match=r"record.json` (has no|was changed)"):
        read_record(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "null", "NaN", '{"a": NaN}', "1" * 5000, "\ufeff{}", "\x00", '"\\ud800"']
)
def test_what_is_no_json_of_ours_is_refused(tmp_path, text):
    write_record(tmp_path)
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(RecordError, match="is no record of ours"):
        read_record(tmp_path)


def test_a_field_that_stands_twice_is_refused(written, tmp_path):
    folder = shutil.copytree(written / "ours", tmp_path / "ours")
    text = (folder / "record.json").read_text()
    (folder / "record.json").write_text(text.replace("{", '{"complete": false,', 1))
    with pytest.raises(RecordError, match="is no record of ours"):
        read_record(folder)


def test_a_record_of_version_1_is_read_as_before(written, tmp_path):
    folder = shutil.copytree(written / "ours", tmp_path / "ours")
    edit(folder, as_of_old)
    pd.testing.assert_frame_equal(read_record(folder).bins, read_record(written / "ours").bins)


def test_a_changed_record_is_measured_again_with_overwrite(ours):
    edit(ours, EDITS["a setting"])
    with pytest.raises(RecordError, match="was changed"):
        open_record(ours, HEADER)
    with open_record(ours, HEADER, overwrite=True) as writer:
        writer.finish({"bins": tables()["bins"]}, {})
    assert len(read_record(ours).bins) == 20


# --- the command ---


def test_the_command_checks_every_table(written, capsys):
    assert main([str(written / "ours"), str(written / "other")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{written / name}: 3 tables, rows and hashes as written" for name in ("ours", "other")
    ]


def test_the_command_adds_hashes_to_old_records_alone(written, tmp_path, capsys):
    folder = shutil.copytree(written / "ours", tmp_path / "ours")
    edit(folder, as_of_old)
    assert main([str(folder)]) == 0 and "no hashes: --write adds them" in capsys.readouterr().out
    assert main([str(folder), "--write"]) == 0 and "hashes added" in capsys.readouterr().out
    assert (folder / "record.json").read_bytes() == (written / "ours" / "record.json").read_bytes()
    shutil.copy(written / "other" / "bins.csv", folder)
    assert main([str(folder), "--write"]) == 2
    assert "bins.csv` must be the file" in capsys.readouterr().err


def test_the_gallery_is_as_it_was_committed(capsys):
    gallery = Path(__file__).resolve().parents[2] / "figures" / "gallery"
    folders = [str(path.parent) for path in sorted(gallery.glob("*/record.json"))]
    assert main(folders) == 0
    assert capsys.readouterr().out.count("rows and hashes as written") == len(folders) >= 13
