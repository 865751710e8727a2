"""The forecast probe: what it predicts of held-out responses is what small steps do to them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from probes import sensitivity
from probes.measurement import Measurement
from probes.stages import first_order, real_steps
from records import RecordWriter, read_record
from records.tables.forecast import CHANGED, TABLES
from tests import models
from tests.killed import Killed

ROOT = Path(__file__).resolve().parents[2]
CHANGES = [f"d_{loss}_nats" for loss in CHANGED]
# Parts of the model compute in float32 whatever its dtype: a step must change more than its rounding, 1e-7.
CHECK = ["--check", "--check-sgd-lr", "5e-4", "1e-3", "--check-adamw-lr", "5e-6"]


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the picture out, where it is not what is tested."""
    monkeypatch.setattr(Measurement, "save", lambda measured: [])


@pytest.fixture(scope="module")
def float64_flags(flags):
    return [*flags, "--dtype", "float64"]


@pytest.fixture(scope="module")
def folder(float64_flags, tmp_path_factory):
    out = tmp_path_factory.mktemp("sensitivity") / "record"
    assert sensitivity.main([*float64_flags, *CHECK, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def tables(folder):
    return read_record(folder, "tokens", *TABLES).tables


def test_the_record_holds_the_other_half(tables):
    rows, every = tables["sensitivity"], tables["tokens"]
    assert list(rows["direction"].unique()) == ["standard", *first_order.PASSES]
    for _, along in rows.groupby("direction"):
        known = every[every["rollout_id"].isin(along["rollout_id"])]
        keys = ["prompt_id", "rollout_id", "position", "bin"]
        pd.testing.assert_frame_equal(along[keys].reset_index(drop=True), known[keys].reset_index(drop=True))
    n = rows["rollout_id"].nunique()
    assert 0 < n < every["rollout_id"].nunique()
    assert (rows[CHANGES].abs().max() > 0).all()
    text = rows[rows["bin"] < 0]
    assert (text[["d_visual_nats", "d_visual_held_nats", "d_student_vds_nats"]] == 0).all(axis=None)


def test_small_steps_do_what_is_predicted(tables):
    """The whole way: gradients of one half, forward mode on the other, and real steps measured there."""
    fits = tables["step_fits"]
    assert set(zip(fits["step"], fits["lr"], strict=True)) == {("sgd", 5e-4), ("sgd", 1e-3), ("adamw", 5e-6)}
    assert set(fits["loss"]) == set(real_steps.MEASURED)
    np.testing.assert_allclose(fits["slope"], 1.0, rtol=0.02)
    assert (fits["relative_error"] < 0.03).all() and (fits["correlation"] > 0.999).all()
    by_bin = tables["step_changes"]
    np.testing.assert_allclose(by_bin["measured_nats"], by_bin["predicted_nats"], rtol=0.03, atol=1e-6)
    assert (
        by_bin.groupby(["step", "lr", "loss"])["measured_nats"].apply(lambda values: values.abs().max()) > 3e-6
    ).all()
    assert {"0", "1", "2", "high", "all"} <= set(by_bin["bin"])


def test_the_batch_changes_nothing(float64_flags, tables, tmp_path, undrawn):
    assert sensitivity.main([*float64_flags, "--batch", "3", "--out", str(tmp_path / "out")]) == 0
    found = read_record(tmp_path / "out", "sensitivity", "direction_products", "readings").tables
    for name, table in found.items():
        pd.testing.assert_frame_equal(table, tables[name], rtol=1e-6, atol=1e-11)


@pytest.mark.slow
def test_an_interrupted_run_is_continued_to_the_same_tables(flags, tmp_path, monkeypatch, undrawn):
    assert sensitivity.main([*flags, "--out", str(tmp_path / "whole")]) == 0
    adding = RecordWriter.add

    def add(self, table, shard, frame):
        if (table, shard) == ("sensitivity", 2):
            raise Killed
        adding(self, table, shard, frame)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RecordWriter, "add", add)
        sensitivity.main([*flags, "--out", str(tmp_path / "parts")])
    assert sensitivity.main([*flags, "--out", str(tmp_path / "parts")]) == 0
    for name in ("sensitivity.parquet", "direction_products.csv", "forecast.csv", "steering.csv", "readings.csv"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def nearby(checkpoints, folder, size):
    """Save the student with every weight a little moved."""
    student = models.load(checkpoints, "float64").student
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in student.model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(noise, alpha=size)
    student.model.save_pretrained(folder)
    student.processor.save_pretrained(folder)
    return folder


def test_the_way_to_a_nearby_checkpoint_is_first_order(checkpoints, float64_flags, tmp_path, undrawn, capsys):
    later = nearby(checkpoints, tmp_path / "later", 1e-4)
    assert sensitivity.main([*float64_flags, "--after", str(later), "--out", str(tmp_path / "out")]) == 0
    tables = read_record(tmp_path / "out", "sensitivity", "step_fits").tables
    fits = tables["step_fits"]
    assert set(fits["step"]) == {"after"} and fits["lr"].isna().all()
    np.testing.assert_allclose(fits["slope"], 1.0, rtol=0.02)
    assert (fits["relative_error"] < 0.05).all()
    assert "after" in set(tables["sensitivity"]["direction"]) and "after" in capsys.readouterr().out
    header = read_record(tmp_path / "out").header
    assert header["weights"]["after"] != header["weights"]["student"]


def test_a_later_checkpoint_of_another_model_is_refused(checkpoints, flags, tmp_path, capsys):
    argv = [*flags, "--after", str(checkpoints / "teacher"), "--out", str(tmp_path / "out")]
    assert sensitivity.main(argv) == 2
    shown = capsys.readouterr().err.splitlines()[-1]
    assert shown.startswith("error: `after` must have the parameters of the student") and "give a later" in shown


def test_in_the_metric_of_adam(checkpoints, float64_flags, tables, tmp_path, undrawn):
    """With one second moment for all entries a step is the plain one, longer."""
    model = models.load(checkpoints, "float64").student.model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, eps=0.0)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    optimizer.step()
    state = tmp_path / "state.pt"
    torch.save(optimizer.state_dict(), state)
    argv = [*float64_flags, "--metric", "adam", "--optimizer-state", str(state), "--out", str(tmp_path / "out")]
    assert sensitivity.main(argv) == 0
    found = read_record(tmp_path / "out", "sensitivity", "direction_products").tables
    plain = tables["sensitivity"][CHANGES]
    np.testing.assert_allclose(found["sensitivity"][CHANGES], 2.0 * plain, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(
        found["direction_products"]["product"], 2.0 * tables["direction_products"]["product"], rtol=1e-5, atol=1e-12
    )


def test_a_check_takes_steps_of_fresh_optimizers(flags, tmp_path, capsys):
    state = tmp_path / "state.pt"
    state.touch()
    assert sensitivity.main([*flags, "--check", "--metric", "adam", "--optimizer-state", str(state)]) == 2
    assert capsys.readouterr().err.startswith("error: `check` takes steps from a fresh optimizer")


@pytest.mark.slow
def test_as_a_process(flags, tmp_path):
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "probes.sensitivity", *flags, "--allow-truncated", "--out", str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} >= {"sensitivity.parquet", "forecast.csv", "sensitivity.png"}
    assert "Sampling is not differentiated" in done.stdout and "rises from gamma" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows if len(row) == 8 and row[0] in ("0", "1", "2", "all")] == ["0", "1", "2", "all"]
