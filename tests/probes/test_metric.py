"""Probes in Adam's metric: against gradients scaled by hand, from the state that the trainer writes."""

import numpy as np
import pandas as pd
import pytest
import torch

from figures import angle_bins, norm_dynamics
from figures import layers as layers_picture
from geometry import OBJECTIVES
from probes import angles, layers, norms
from records import ANGLES, NULL_ANGLES, read_record
from tests import models
from tests.probes.test_angles import angles_by_definition
from tests.probes.test_errors import complaint
from train import checkpoint
from train.checkpoint import Progress, Teacher
from train.learner import State
from vlm.checkpoints.optimizer_state import STATE
from vlm.checkpoints.pair import load_pair
from vlm.families import scopes

EPS = 1e-6
SETTING = ("--limit", "6", "--max-response", "5", "--bins", "2", "--per-bin", "3")
PLAIN = (*SETTING, "--dtype", "float64")
ADAM = (*PLAIN, "--metric", "adam")


def moments(parameter):
    """Second moments of one step: the square of the gradient, whatever beta2 is. Spread over four decades."""
    generator = torch.Generator().manual_seed(parameter.numel())
    return torch.rand(parameter.shape, generator=generator, dtype=torch.float64).mul(4).sub(6).pow(2).mul(-0.3).exp()


@pytest.fixture(scope="module")
def trained(checkpoints, tmp_path_factory):
    """A checkpoint as the trainer writes it, after one step of AdamW."""
    pair = load_pair(str(checkpoints / "student"), str(checkpoints / "teacher"))
    optimizer = torch.optim.AdamW(pair.student.model.parameters(), lr=0.0, eps=EPS)
    for parameter in pair.student.model.parameters():
        parameter.grad = moments(parameter).sqrt().to(parameter)
    optimizer.step()
    run = tmp_path_factory.mktemp("run")
    teacher = Teacher(str(checkpoints / "teacher"), pair.teacher.fingerprint)
    return checkpoint.save(run, pair.student, teacher, Progress(1), State(None, optimizer.state_dict()))


@pytest.fixture(scope="module")
def record(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("adam") / "record"
    assert angles.main([str(trained), *ADAM, "--out", str(out)]) == 0
    return read_record(out, "units", "tokens", "bins")


@pytest.fixture(scope="module")
def plain(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("plain") / "record"
    assert angles.main([str(trained), *PLAIN, "--out", str(out)]) == 0
    return read_record(out, "units", "bins")


def test_angles_are_those_of_gradients_scaled_by_hand(record, trained):
    pair = load_pair(str(trained), dtype="float64")
    prompts = {prompt.prompt_id: prompt for prompt in models.scenes(6)}
    units, tokens = record.tables["units"], record.tables["tokens"]
    for _, unit in units.iloc[[0, len(units) - 1]].iterrows():
        own = tokens[tokens["rollout_id"] == unit["rollout_id"]]
        asked = prompts[unit["prompt_id"]], own["token_id"].tolist(), unit["position"]
        names = scopes(pair.student.groups)[unit["scope"]]
        plain, _ = angles_by_definition(pair, *asked, names)
        expected, _ = angles_by_definition(pair, *asked, names, scale=lambda p: (moments(p).sqrt() + EPS).rsqrt().to(p))
        for name, angle_deg in expected.items():
            assert unit[f"{name}_deg"] == pytest.approx(angle_deg, abs=1e-3), name  # moments are float32 in the file
        assert max(abs(plain[name] - expected[name]) for name in ANGLES) > 1.0


def test_the_record_and_the_picture_say_so(record, plain):
    settings = record.header["settings"]
    assert (settings["metric"], settings["optimizer_state"]) == ("adam", None)
    assert len(record.header["weights"]["optimizer_state"]) == 16
    assert record.record["notes"]["second_moments_zero_share"] == 0
    assert "metric: Adam's second moments" in angle_bins.draw(record).get_suptitle()
    assert plain.header["settings"]["metric"] == "plain" and "optimizer_state" not in plain.header["weights"]
    assert "second_moments_zero_share" not in plain.record["notes"]
    assert "metric" not in angle_bins.draw(plain).get_suptitle()


def test_the_null_is_in_the_same_metric(record, plain):
    for name in ("angle_language_visual", "angle_language_visual_attached"):
        column = f"{name}_null_mean_deg"
        assert ((record.tables["bins"][column] - plain.tables["bins"][column]).abs() > 1e-3).all()


@pytest.mark.parametrize("unit", ["token", "corpus-bin"])
def test_a_metric_of_one_half_shortens_and_turns_nothing(trained, plain, tmp_path, unit):
    """Gradients of 2 in one step: sqrt(v) = 2 for every entry, so that products are halved."""
    model = load_pair(str(trained)).student.model
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "twos.pt")
    flags = ["--metric", "adam", "--optimizer-state", str(tmp_path / "twos.pt"), "--unit", unit]
    assert angles.main([str(trained), *PLAIN, *flags, "--out", str(tmp_path / "halved")]) == 0
    if unit != "token":
        assert angles.main([str(trained), *PLAIN, "--unit", unit, "--out", str(tmp_path / "plain")]) == 0
        plain = read_record(tmp_path / "plain", "units", "bins")
    halved, whole = read_record(tmp_path / "halved", "units", "bins").tables, plain.tables
    columns = [f"{angle}_deg" for angle in ANGLES]
    pd.testing.assert_frame_equal(halved["units"][columns], whole["units"][columns], rtol=1e-6)
    ratios = [(halved["units"][f"norm_{name}"] / whole["units"][f"norm_{name}"]).dropna() for name in OBJECTIVES]
    np.testing.assert_allclose(pd.concat(ratios), 0.5**0.5, rtol=1e-6)
    columns = [f"{angle}_null_mean_deg" for angle in NULL_ANGLES]
    pd.testing.assert_frame_equal(halved["bins"][columns], whole["bins"][columns], rtol=1e-6)


@pytest.mark.slow
def test_layers_and_norms_measure_the_same(record, trained, tmp_path):
    assert layers.main([str(trained), *ADAM, "--out", str(tmp_path / "layers")]) == 0
    found = read_record(tmp_path / "layers", "units", "layers")
    pd.testing.assert_frame_equal(found.tables["units"], record.tables["units"], rtol=1e-6)
    assert "metric: Adam's" in layers_picture.draw(found).get_suptitle()
    assert norms.main([str(trained), str(trained), *ADAM, "--out", str(tmp_path / "norms")]) == 0
    series = read_record(tmp_path / "norms", "norms")
    assert series.header["weights"]["optimizer_state"] == 2 * [record.header["weights"]["optimizer_state"]]
    assert "metric: Adam's" in norm_dynamics.draw(series).get_suptitle()
    units = record.tables["units"].query("scope == 'all'")
    [first, second] = series.tables["norms"].query("scope == 'all' and bin == 'all'")["norm_visual_mean"]
    assert first == second == pytest.approx(units["norm_visual"].mean())


def test_the_precision_is_checked_in_the_same_metric(trained, tmp_path, capsys):
    argv = [str(trained), *SETTING, "--metric", "adam", "--precision-check", "4", "--out", str(tmp_path / "out")]
    assert angles.main(argv) == 0
    shifts = read_record(tmp_path / "out", "precision").tables["precision"]
    assert shifts["n_units"].sum() == 4
    assert (shifts[[f"{angle}_shift_max_deg" for angle in ANGLES]] < 0.05).all(axis=None)


@pytest.mark.parametrize("probe", [angles, layers, norms])
def test_what_cannot_be_measured_is_refused_before_anything_is_written(here, trained, flags, capsys, probe):
    adam = (*flags, "--metric", "adam")
    (here / "text.pt").write_text("no state")
    torch.save({"state": {}, "param_groups": [{"params": [0], "betas": (0.9, 0.99), "eps": 1e-8}]}, here / "other.pt")
    for argv, message in (
        (adam, f"{flags[0]} holds no {STATE}, which `python -m train` writes; add --optimizer-state FILE"),
        ((*adam, "--optimizer-state", "none.pt"), "`optimizer_state` must be a file, got none.pt"),
        ((*adam, "--optimizer-state", "text.pt"), "text.pt must be a file of tensors that torch.save wrote"),
        ((*adam, "--optimizer-state", "other.pt"), "must hold the parameters that are measured, got 1 for"),
        ((*flags, "--optimizer-state", "text.pt"), "add --metric adam or leave it out"),
    ):
        assert message in complaint(probe.main, argv, capsys)
    assert not (here / "runs").exists()


def test_a_series_takes_no_single_state(here, trained, capsys):
    argv = [trained, trained, *ADAM, "--optimizer-state", trained / STATE]
    assert "belongs to one checkpoint, got 2; leave it out and put" in complaint(norms.main, argv, capsys)
