"""The norms probe: a checkpoint of a series is measured as it is alone, and what does not fit is refused at once."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from probes import angles, norms, sampling
from probes.norms import SeriesUnitOptions
from records import Shards, read_record
from stats.bootstrap import bootstrap_interval
from tests import models
from tests.killed import Killed

ROOT = Path(__file__).resolve().parents[2]
SETTING = ("--limit", "6", "--max-response", "5", "--bins", "3", "--per-bin", "3")


@pytest.fixture(scope="module")
def series(checkpoints, tmp_path_factory):
    """Three checkpoints of one student, the last one other."""
    folder = tmp_path_factory.mktemp("series")
    first = models.copy_of(checkpoints / "student", folder / "step-0")
    again = models.copy_of(checkpoints / "student", folder / "step-1")
    other = models.write_checkpoint(folder / "step-2", models.STUDENT, seed=3)
    return [str(path) for path in (first, again, other)]


@pytest.fixture(scope="module")
def setting(checkpoints):
    return ["--teacher", str(checkpoints / "teacher"), *SETTING, "--dtype", "float64"]


@pytest.fixture(scope="module")
def folder(series, setting, tmp_path_factory):
    out = tmp_path_factory.mktemp("norms") / "record"
    assert norms.main([*series, *setting, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def table(folder):
    return read_record(folder, "norms").tables["norms"]


def test_the_record_holds_the_table_and_the_picture(folder):
    names = {"record.json", "norms.csv", "norm_dynamics.png", "norm_dynamics.svg"}
    assert {path.name for path in folder.iterdir()} == names


def test_rows_are_in_the_order_given(folder, table, series):
    assert table["checkpoint"].is_monotonic_increasing
    assert [name.split("/")[-1] for name in table["name"].unique()] == ["step-0", "step-1", "step-2"]
    for _, rows in table.groupby(["checkpoint", "scope"]):
        assert rows["bin"].tolist() == ["0", "1", "2", "all"]
    header = read_record(folder).header
    assert header["pair"]["student"] == list(table["name"].unique())
    assert header["weights"]["student"][0] == header["weights"]["student"][1] != header["weights"]["student"][2]


def test_equal_weights_have_equal_rows_and_others_do_not(table):
    first, again, other = (table[table["checkpoint"] == n].drop(columns=["checkpoint", "name"]) for n in range(3))
    pd.testing.assert_frame_equal(first.reset_index(drop=True), again.reset_index(drop=True))
    assert (first["norm_standard_mean"].to_numpy() != other["norm_standard_mean"].to_numpy()).all()


def test_a_checkpoint_is_measured_as_the_angles_probe_measures_it(table, series, setting, tmp_path):
    assert angles.main([series[2], *setting, "--out", str(tmp_path / "alone")]) == 0
    alone = read_record(tmp_path / "alone", "units", "bins", "tokens").tables
    for _, row in table[table["checkpoint"] == 2].iterrows():
        units, tokens = alone["units"][alone["units"]["scope"] == row["scope"]], alone["tokens"].query("bin >= 0")
        if row["bin"] != "all":
            units, tokens = (rows[rows["bin"] == int(row["bin"])] for rows in (units, tokens))
        assert (row["n_units"], row["n_tokens"]) == (len(units), len(tokens))
        assert row["vds_mean_nats"] == pytest.approx(tokens["vds_nats"].mean())
        assert row["kl_language_mean_nats"] == pytest.approx(tokens["kl_language_nats"].mean())
        for column, name in (
            ("norm_shift", "norm_shift_{}"),
            ("angle_language_visual_deg", "angle_language_visual_{}_deg"),
        ):
            interval = bootstrap_interval(units[column].to_numpy(), units["prompt_id"].to_numpy(str))
            found = [row[name.format(statistic)] for statistic in ("mean", "low", "high")]
            assert found == pytest.approx([interval.estimate, interval.low, interval.high])
        ratio = units["norm_language"].mean() / units["norm_visual"].mean()
        assert row["norm_ratio_language_visual"] == pytest.approx(ratio)


@pytest.mark.slow
def test_an_interrupted_series_is_continued_to_the_same_table(series, setting, folder, tmp_path, monkeypatch):
    adding = Shards.add

    def add(self, table, shard, frame):
        if (table, self._part) == ("units", "@1"):
            raise Killed
        adding(self, table, shard, frame)

    argv = [*series, *setting, "--out", str(tmp_path / "parts")]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Shards, "add", add)
        norms.main(argv)
    assert (tmp_path / "parts" / "pieces" / "norms-000000.parquet").is_file()
    monkeypatch.setattr(sampling, "generate", None)  # both had their responses
    with pytest.raises(TypeError):
        norms.main(argv)
    assert (tmp_path / "parts" / "pieces" / "norms-000001.parquet").is_file()
    monkeypatch.undo()
    assert norms.main(argv) == 0
    assert (tmp_path / "parts" / "norms.csv").read_bytes() == (folder / "norms.csv").read_bytes()


@pytest.mark.slow
def test_signed_bins_are_pooled_as_the_angles_probe_pools_them(series, setting, tmp_path, capsys):
    argv = [series[0], *setting, "--unit", "signed-bin"]
    assert norms.main([*argv, "--out", str(tmp_path / "norms")]) == 0
    assert "and pooled angles (of the summed Gram matrices" in capsys.readouterr().out
    assert angles.main([*argv, "--out", str(tmp_path / "angles")]) == 0
    keys = ["scope", "bin"]
    ours = read_record(tmp_path / "norms", "norms").norms.query("bin != 'all'").set_index(keys)
    theirs = read_record(tmp_path / "angles", "bins").bins.astype({"bin": str}).set_index(keys)
    columns = [f"angle_language_visual_{end}_deg" for end in ("mean", "low", "high")]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns], rtol=1e-9, check_like=True)


def test_the_default_is_16_tokens_a_bin():
    assert SeriesUnitOptions().per_bin == 16 and SeriesUnitOptions().unit == "token"


def test_a_teacher_can_be_named_by_the_first_checkpoint(series, checkpoints, tmp_path, capsys):
    first = models.copy_of(Path(series[0]), tmp_path / "first")
    (first / "pair.json").write_text(f'{{"teacher": "{checkpoints / "teacher"}"}}')
    assert norms.main([str(first), series[2], *SETTING, "--per-bin", "1", "--out", str(tmp_path / "out")]) == 0
    titles, *rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:4]]
    assert titles[:2] == ["checkpoint", "VDS"] and [row[1].split("/")[-1] for row in rows] == ["first", "step-2"]
    assert norms.main([series[2], str(first), *SETTING, "--out", str(tmp_path / "no")]) == 2
    assert "`teacher` must be given" in capsys.readouterr().err


def process(here, *argv):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "probes.norms", *map(str, argv)]
    return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=120)


def test_another_vocabulary_is_refused_before_anything_is_measured(series, setting, tmp_path):
    other = models.copy_of(Path(series[2]), tmp_path / "other")
    path = other / "tokenizer.json"
    path.write_text(path.read_text().replace('"colour":', '"color":'))
    done = process(tmp_path, series[0], other, *setting)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: `checkpoints` {other} does not fit") and done.stderr.count("\n") == 1
    assert "`vocab` differs at" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_missing_checkpoint_anywhere_in_the_series_is_one_line(series, setting, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert norms.main([series[0], "nobody/nothing", *setting]) == 2
    shown = capsys.readouterr()
    assert "neither a checkpoint folder nor on the hub" in shown.err
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
