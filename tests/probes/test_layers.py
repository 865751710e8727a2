"""The layers probe: its groups add up to the whole, and its table follows from units and Gram matrices."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geometry import OBJECTIVES
from probes import layers
from probes.measurement import Measurement
from probes.stages import gradients
from records import RecordWriter, read_record
from stats.bootstrap import bootstrap_interval
from tests import models
from tests.killed import Killed
from vlm.families import parameter_kinds

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("rollouts", "tokens", "units", "grams", "layers")
ENTRIES = [f"gram_{a}_{b}" for i, a in enumerate(OBJECTIVES) for b in OBJECTIVES[i:]]


@pytest.fixture(scope="module")
def folder(flags, tmp_path_factory):
    out = tmp_path_factory.mktemp("layers") / "record"
    assert layers.main([*flags, "--dtype", "float64", "--per-bin", "4", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def record(folder):
    return read_record(folder, *TABLES)


@pytest.fixture(scope="module")
def table(record):
    return record.tables["layers"]


def test_groups_and_bins_are_in_order(record, table, checkpoints):
    kinds = list(parameter_kinds(models.load(checkpoints).student.model))
    assert list(table["group"].unique()) == kinds
    assert all(rows["bin"].tolist() == ["0", "1", "2", "all"] for _, rows in table.groupby("group"))
    assert set(table["group"][~table["in_language_model"]]) == {"vision_tower", "merger"}
    assert (table["n_units"] == np.where(table["bin"] == "all", 12, 4)).all()


def test_kinds_add_up_to_the_groups_of_the_angles_probe(record, angles_record):
    whole = read_record(angles_record, "grams", "units").tables
    ours = record.tables["grams"].assign(group=record.tables["grams"]["group"].str.split(".").str[0])
    summed = ours.groupby(["unit_id", "group"])[ENTRIES].sum()
    expected = whole["grams"].set_index(["unit_id", "group"])[ENTRIES].sort_index()
    pd.testing.assert_frame_equal(summed, expected, rtol=1e-7, atol=1e-12)
    pd.testing.assert_frame_equal(record.tables["units"], whole["units"], rtol=1e-6, atol=1e-6)


def test_shares_add_up_to_one_in_every_bin(table):
    shares = table.groupby("bin")[[f"share_{name}_mean" for name in OBJECTIVES]].sum()
    np.testing.assert_allclose(shares, 1.0)
    assert (table.loc[~table["in_language_model"], "share_language_mean"] == 0).all()


def test_a_gradient_of_zero_has_a_norm_but_no_angle(table):
    vision = table[~table["in_language_model"]]
    assert (vision["norm_language_mean"] == 0).all() and (vision["norm_visual_mean"] > 0).all()
    unknown = [name for name in table if name.startswith("angle") and "language" in name]
    assert vision[unknown].isna().all(axis=None)
    assert (
        table[table["in_language_model"]][[name for name in table if name.endswith("_mean_deg")]].notna().all(axis=None)
    )


def test_means_and_intervals_are_plain_statistics_of_the_grams(record, table):
    units, found = record.tables["units"].query("scope == 'all'"), record.tables["grams"]
    for _, row in table[table["group"] == "layer_01.mlp"].iterrows():
        inside = units if row["bin"] == "all" else units[units["bin"] == int(row["bin"])]
        rows = found[(found["group"] == row["group"]) & found["unit_id"].isin(inside["unit_id"])].set_index("unit_id")
        rows = rows.loc[inside["unit_id"]]
        whole = found[found["unit_id"].isin(inside["unit_id"])].groupby("unit_id")["gram_visual_visual"].sum()
        assert row["norm_visual_mean"] == pytest.approx(np.sqrt(rows["gram_visual_visual"]).mean())
        assert row["share_visual_mean"] == pytest.approx((rows["gram_visual_visual"] / whole).mean())
        lengths = np.sqrt(rows["gram_language_language"] * rows["gram_visual_visual"])
        angles_deg = np.degrees(np.arccos(rows["gram_language_visual"] / lengths)).to_numpy()
        interval = bootstrap_interval(angles_deg, inside["prompt_id"].to_numpy(str))
        for statistic, value in (("mean", angles_deg.mean()), ("low", interval.low), ("high", interval.high)):
            assert row[f"angle_language_visual_{statistic}_deg"] == pytest.approx(value)


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the picture out, where it is not what is tested."""
    monkeypatch.setattr(Measurement, "save", lambda self: [])


@pytest.mark.slow
def test_an_interrupted_run_is_continued_to_the_same_tables(flags, tmp_path, monkeypatch, undrawn):
    monkeypatch.setattr(gradients, "SHARD", 2)
    argv = [*flags, "--per-bin", "2", "--batch", "2"]
    assert layers.main([*argv, "--out", str(tmp_path / "whole")]) == 0
    adding = RecordWriter.add

    def add(self, table, shard, frame):
        if (table, shard) == ("units", 1):
            raise Killed
        adding(self, table, shard, frame)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RecordWriter, "add", add)
        layers.main([*argv, "--out", str(tmp_path / "parts")])
    assert layers.main([*argv, "--out", str(tmp_path / "parts")]) == 0
    for name in ("layers.csv", *(f"{table}.parquet" for table in TABLES[:4])):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_signed_bins_are_said_to_be_pooled(flags, tmp_path, undrawn, capsys):
    argv = [*flags, "--unit", "signed-bin", "--per-bin", "all", "--out", str(tmp_path / "out")]
    assert layers.main(argv) == 0
    assert "and pooled angles (of the summed Gram matrices" in capsys.readouterr().out
    made = read_record(tmp_path / "out", "layers", "grams").tables
    [row] = made["layers"].query("group == 'final_norm' and bin == 'all'").to_dict("records")
    sums = made["grams"].query("group == 'final_norm'")[ENTRIES].sum()
    lengths = math.sqrt(sums["gram_language_language"] * sums["gram_visual_visual"])
    cosine = sums["gram_language_visual"] / lengths
    assert row["angle_language_visual_mean_deg"] == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-6)


@pytest.mark.parametrize("unit", ["trajectory-bin", "corpus-bin"])
def test_the_other_units(flags, tmp_path, unit, undrawn):
    assert layers.main([*flags, "--unit", unit, "--out", str(tmp_path / "out")]) == 0
    table = read_record(tmp_path / "out", "layers").tables["layers"]
    np.testing.assert_allclose(table.groupby("bin")["share_visual_mean"].sum(), 1.0)
    assert table["angle_standard_visual_low_deg"].isna().all() == (unit == "corpus-bin")


@pytest.mark.slow
def test_as_a_process(flags, tmp_path):
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    argv = [*flags, "--per-bin", "2", "--scope", "language_model", "--allow-truncated", "--out", str(out)]
    command = [sys.executable, "-m", "probes.layers", *argv]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    pictures = {"layers-language_model.png", "layers-language_model.svg"}
    assert {path.name for path in out.iterdir()} >= {"layers.csv", "grams.parquet"} | pictures
    titles, *rows = [line.split() for line in done.stdout.splitlines()[1:-2]]
    assert titles[:2] == ["group", "units"]
    groups = [row[0] for row in rows]
    assert groups[0] == "embedding_head" and groups[-1] == "final_norm" and "vision_tower" not in groups


def test_a_record_that_is_there_is_kept(flags, folder, capsys):
    assert layers.main([*flags, "--out", str(folder)]) == 2
    shown = capsys.readouterr()
    assert "holds a complete record" in shown.err and shown.err.count("\n") == 1 and shown.out == ""
