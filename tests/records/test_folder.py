"""The life of a record's folder: begun, killed, continued, refused, cleared, finished, read."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from records import TABLES, RecordError, open_record, read_record
from records import writing as folder_module
from records.record_json import HEADER as HEADER_FIELDS
from tests.records.synthetic import HEADER, tables, write_record

NOTES = {"threads": 1}
OTHER = HEADER | {"settings": HEADER["settings"] | {"seed": 1}}
ROOT = Path(__file__).resolve().parents[2]


class Killed(BaseException):
    """Stands for the kill signal."""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shard(i: int) -> pd.DataFrame:
    return pd.DataFrame({"row": [2 * i, 2 * i + 1], "text": ["a", "b"]})


def run(folder: Path, header: dict = HEADER, overwrite: bool = False, n_shards: int = 3) -> list[int]:
    """Do what a probe does, and return the shards that had to be computed."""
    computed = []
    with open_record(folder, header, overwrite) as writer:
        for i in range(n_shards):
            if not writer.has("work", i):
                writer.add("work", i, shard(i))
                computed.append(i)
        writer.finish(tables(), NOTES | {"rows": len(writer.gather("work"))})
    return computed


def begin(folder: Path, n_shards: int = 2) -> None:
    """Leave an incomplete record."""
    with open_record(folder, HEADER) as writer:
        for i in range(n_shards):
            writer.add("work", i, shard(i))


# --- a whole life ---


def test_a_finished_record_is_read_back(tmp_path):
    run(tmp_path / "deep" / "record")
    record = read_record(tmp_path / "deep" / "record", "units", "bins")
    assert record.header == HEADER
    assert record.record["notes"] == {"threads": 1, "rows": 6}
    assert record.record["tables"]["bins"] == 20
    assert set(record.tables) == {"units", "bins"}
    for table, frame in record.tables.items():
        pd.testing.assert_frame_equal(frame, tables()[table], check_exact=True)


def test_a_finished_folder_holds_the_record_and_nothing_else(tmp_path):
    run(tmp_path)
    names = {
        "record.json",
        "rollouts.parquet",
        "tokens.parquet",
        "units.parquet",
        "grams.parquet",
        "bins.csv",
        "layers.csv",
        "norms.csv",
        "precision.csv",
        "sketch_error.csv",
        "bin_grams.parquet",
    }
    assert set(contents(tmp_path)) == names | {table.file for table in TABLES.values()}
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    assert list(json.loads((tmp_path / "record.json").read_text()))[-1] == "complete"


def test_the_same_content_is_the_same_bytes(tmp_path):
    run(tmp_path / "a")
    run(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_gather_goes_by_the_index_not_by_the_time(tmp_path):
    with open_record(tmp_path, HEADER) as writer:
        for i in (10, 2, 0):
            writer.add("work", i, shard(i))
        writer.add("work-other", 1, shard(7))
        assert writer.gather("work")["row"].tolist() == [0, 1, 4, 5, 20, 21]
        assert not writer.has("work", 1)
        with pytest.raises(RecordError, match="no shards of `units`"):
            writer.gather("units")


def test_nan_in_notes_is_null(tmp_path):
    with open_record(tmp_path, HEADER) as writer:
        writer.finish(tables(), {"mean": float("nan")})
    assert read_record(tmp_path).record["notes"] == {"mean": None}


def test_a_record_may_have_some_tables_only(tmp_path):
    with open_record(tmp_path, HEADER) as writer:
        writer.finish({"tokens": tables()["tokens"]}, NOTES)
    assert len(read_record(tmp_path, "tokens").tables["tokens"]) == 4
    with pytest.raises(RecordError, match="has no table `units`: `python -m probes.angles` writes it"):
        read_record(tmp_path, "units")


# --- killed, and continued ---


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """What an unbroken run writes."""
    folder = tmp_path_factory.mktemp("whole") / "record"
    run(folder)
    return contents(folder)


def test_an_incomplete_record_is_continued(tmp_path):
    begin(tmp_path, n_shards=2)
    assert run(tmp_path) == [2]
    run(tmp_path / "at_once")
    both = contents(tmp_path)
    assert all(both[name] == both[f"at_once/{name}"] for name in ("record.json", "bins.csv", "tokens.parquet"))


@pytest.mark.parametrize("n_steps", range(9))
def test_killed_at_any_write_it_ends_the_same(tmp_path, whole, monkeypatch, n_steps):
    """Every write ends in `os.replace`: die before the n-th one, continue, compare with an unbroken run."""
    replace, done = os.replace, []

    def dying(source, target):
        if len(done) == n_steps:
            raise Killed
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", dying)
    with pytest.raises(Killed):
        run(tmp_path / "broken")
    monkeypatch.undo()
    with pytest.raises(RecordError):
        read_record(tmp_path / "broken")
    assert run(tmp_path / "broken") == list(range(max(0, n_steps - 2), 3))
    assert contents(tmp_path / "broken") == whole


def test_killed_before_completing_no_shard_is_made_again(tmp_path, monkeypatch):
    real = folder_module.write_json

    def dying(path, content):
        if content["complete"]:
            raise Killed
        real(path, content)

    monkeypatch.setattr(folder_module, "write_json", dying)
    with pytest.raises(Killed):
        run(tmp_path)
    monkeypatch.undo()
    assert not json.loads((tmp_path / "record.json").read_text())["complete"]
    assert run(tmp_path) == []


def dying_at(name):
    def dying(path, **_):
        if path.name == name:
            raise Killed

    return dying


def test_shards_that_a_kill_has_left_in_a_complete_record_are_dropped(tmp_path, whole, monkeypatch):
    begin(tmp_path, n_shards=3)
    monkeypatch.setattr(folder_module.shutil, "rmtree", dying_at("pieces"))
    with pytest.raises(Killed):
        run(tmp_path)
    monkeypatch.undo()
    assert read_record(tmp_path, "bins").record["complete"] and (tmp_path / "pieces").is_dir()
    folder_module.drop_leftovers(tmp_path)
    assert contents(tmp_path) == whole


def test_shards_of_a_record_that_is_being_written_are_kept(tmp_path):
    begin(tmp_path, n_shards=1)
    folder_module.drop_leftovers(tmp_path)
    with open_record(tmp_path, HEADER) as writer:
        folder_module.drop_leftovers(tmp_path)
        assert writer.has("work", 0)


def test_killed_while_clearing_no_old_shard_survives(tmp_path, monkeypatch):
    begin(tmp_path)
    monkeypatch.setattr(folder_module.shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        open_record(tmp_path, OTHER, overwrite=True)
    monkeypatch.undo()
    assert (tmp_path / "pieces").exists()
    assert run(tmp_path, OTHER) == [0, 1, 2]


def test_a_half_written_shard_is_not_there(tmp_path):
    begin(tmp_path, n_shards=1)
    (tmp_path / "pieces" / "work-000001.parquet.part").write_bytes(b"PAR1")
    assert run(tmp_path) == [1, 2]


@pytest.mark.parametrize("name", ["lock", "record.json.part"])
def test_what_a_kill_before_the_first_write_leaves_is_no_stranger(tmp_path, name):
    (tmp_path / name).write_text("{")
    assert run(tmp_path) == [0, 1, 2]


def cut(folder: Path) -> None:
    path = folder / "pieces" / "work-000000.parquet"
    path.write_bytes(path.read_bytes()[:-40])


def swapped(folder: Path) -> None:
    first, second = (folder / "pieces" / f"work-00000{i}.parquet" for i in range(2))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def of_another_record(folder: Path) -> None:
    with open_record(folder.parent / "other", OTHER) as writer:
        writer.add("work", 0, shard(5))
    shutil.copy(folder.parent / "other" / "pieces" / "work-000000.parquet", folder / "pieces")


def emptied(folder: Path) -> None:
    (folder / "pieces" / "work-000000.parquet").write_bytes(b"")


@pytest.mark.parametrize("change", [cut, swapped, of_another_record, emptied])
def test_shards_that_were_changed_are_made_again(tmp_path, whole, change):
    begin(tmp_path / "run", n_shards=2)
    change(tmp_path / "run")
    assert run(tmp_path / "run") == ([0, 1, 2] if change is swapped else [0, 2])
    assert contents(tmp_path / "run") == whole


# --- refused ---


def test_a_complete_record_is_refused_unless_overwritten(tmp_path):
    run(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(
        RecordError, match="holds a complete record: draw it with `python -m figures .*`, pass `overwrite`"
    ):
        run(tmp_path)
    assert contents(tmp_path) == before
    assert run(tmp_path, OTHER, overwrite=True) == [0, 1, 2]
    assert read_record(tmp_path).header["settings"]["seed"] == 1


def test_another_incomplete_record_is_refused_by_its_field(tmp_path):
    begin(tmp_path)
    with pytest.raises(RecordError, match="incomplete record with `settings.seed` 0, not 1: pass `overwrite`"):
        run(tmp_path, OTHER)
    assert run(tmp_path, OTHER, overwrite=True) == [0, 1, 2]


def test_overwriting_begins_anew(tmp_path):
    begin(tmp_path)
    assert run(tmp_path, overwrite=True) == [0, 1, 2]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_strangers_folder_is_refused_and_kept(tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RecordError, match=r"holds thesis.tex but no record: choose another folder"):
        run(tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize("content", ["{}", "[1]", "no json", '{"schema_version": 1}'])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_strangers_record_json_is_refused_and_kept(tmp_path, content, overwrite):
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(RecordError, match="is no record of ours"):
        run(tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == {"record.json": content.encode()}


def test_overwriting_keeps_pictures(tmp_path):
    run(tmp_path)
    (tmp_path / "angle_bins.png").write_bytes(b"a picture")
    run(tmp_path, overwrite=True)
    assert (tmp_path / "angle_bins.png").read_bytes() == b"a picture"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RecordError, match="cannot write .*File exists.*choose another `--out`"):
        run(tmp_path / "out")


@pytest.mark.parametrize("field", HEADER_FIELDS)
def test_a_header_must_identify(tmp_path, field):
    header = {name: value for name, value in HEADER.items() if name != field}
    with pytest.raises(RecordError, match=f"`header` must have .*; it misses {field}"):
        open_record(tmp_path / "out", header)
    assert not (tmp_path / "out").exists()


def test_a_wrong_table_is_refused_before_anything_is_written(tmp_path):
    begin(tmp_path)
    with open_record(tmp_path, HEADER) as writer:
        with pytest.raises(RecordError, match="table `units` misses columns: bin"):
            writer.finish({"units": tables()["units"].drop(columns="bin")}, NOTES)
        assert writer.has("work", 0)


# --- two writers ---


def test_two_writers_do_not_share_a_folder(tmp_path):
    with open_record(tmp_path, HEADER):
        with pytest.raises(RecordError, match=f"being written by process {os.getpid()}"):
            open_record(tmp_path, HEADER)
        with pytest.raises(RecordError, match="being written"):
            open_record(tmp_path, HEADER, overwrite=True)
    open_record(tmp_path, HEADER).close()


def test_a_refusal_frees_the_folder(tmp_path):
    begin(tmp_path)
    for _ in range(2):
        with pytest.raises(RecordError, match="settings.seed"):
            open_record(tmp_path, OTHER)
    assert not (tmp_path / "lock").exists()


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    code = (
        "import os, sys; from records import open_record; from tests.records.synthetic import HEADER\n"
        "writer = open_record(sys.argv[1], HEADER); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == 9
    assert (tmp_path / "lock").read_text().isdigit()
    assert run(tmp_path) == [0, 1, 2]


# --- read ---


def test_reading_says_which_command_writes_what_is_missing(tmp_path):
    with pytest.raises(RecordError, match="holds no record: write one with `python -m probes.angles --out"):
        read_record(tmp_path / "nowhere", "bins")
    begin(tmp_path)
    with pytest.raises(RecordError, match="is incomplete: finish it with `python -m probes.angles --out"):
        read_record(tmp_path, "bins")


def test_reading_refuses_unknown_tables_and_other_versions(tmp_path):
    write_record(tmp_path)
    with pytest.raises(RecordError, match="`table` must be one of"):
        read_record(tmp_path, "bin")
    path = tmp_path / "record.json"
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 99'))
    with pytest.raises(RecordError, match="has schema version 99, not 2"):
        read_record(tmp_path)


def test_reading_refuses_a_table_that_was_changed(tmp_path):
    write_record(tmp_path)
    tables()["tokens"].drop(columns="bin").to_parquet(tmp_path / "tokens.parquet")
    with pytest.raises(RecordError, match="tokens.parquet` must be the file that the record was finished with"):
        read_record(tmp_path, "tokens")
    (tmp_path / "tokens.parquet").unlink()
    with pytest.raises(RecordError, match="cannot read"):
        read_record(tmp_path, "tokens")
