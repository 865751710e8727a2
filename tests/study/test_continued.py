"""A record that goes on: what it holds is not run again, and new runs are added to it."""

import json
import shutil

import pandas as pd
import pytest

import study
from records import RecordError, read_record
from records.tables.study import TABLES
from study import effects, runs
from study.__main__ import main

ARMS = ["standard", "vgs"]


@pytest.fixture(scope="module")
def flags(checkpoints):
    """The flags of a run that takes seconds, one step."""
    pair = {"student": str(checkpoints / "student"), "teacher": str(checkpoints / "teacher")}
    return pair | {"batch": 6, "micro_batch": 6, "max_response": 5, "held_out": 4, "steps": 1}


@pytest.fixture(scope="module")
def two_seeds(flags, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "runs"
    study.run(ARMS, [0, 1], folder=out, answers=16, **flags)
    return out


@pytest.fixture
def first_seed(two_seeds, tmp_path):
    """The record of the first seed alone."""
    only = tmp_path / "only"
    only.mkdir()
    for arm in ARMS:
        shutil.copytree(two_seeds / f"{arm}-0", only / f"{arm}-0", symlinks=True)
    return effects.record(only, tmp_path / "record").path


def test_what_a_record_holds_is_not_run_again(first_seed, two_seeds, flags, tmp_path):
    made = study.run(ARMS, [0, 1], folder=tmp_path / "more", answers=16, continues=first_seed, **flags)
    assert [path.name for path in made] == ["standard-1", "vgs-1"]
    grown = effects.grow(first_seed, tmp_path / "more")
    whole = effects.record(two_seeds, tmp_path / "whole")
    assert grown.header["settings"]["runs"] == whole.header["settings"]["runs"]
    for name in TABLES:
        keys = [column for column in whole.table(name) if not column.endswith("_seconds")]
        ours, theirs = (frame.table(name)[keys].sort_values(keys[:5], kind="stable") for frame in (grown, whole))
        pd.testing.assert_frame_equal(ours.reset_index(drop=True), theirs.reset_index(drop=True))


def test_a_record_that_grows_by_what_it_has_stays_as_it_is(first_seed, two_seeds):
    grown = effects.grow(first_seed, two_seeds)
    again = effects.grow(first_seed, two_seeds)
    for name in TABLES:
        pd.testing.assert_frame_equal(grown.table(name), again.table(name))
    assert len(grown.verdicts) == 16 * 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 1e-3}, "holds standard-0 with `lr`"),
        ({"weight_average": 0.5}, "holds standard-0 with `weight_average` 0.0, not 0.5"),
        ({"steps": 2}, "holds standard-0 with `steps` 1, not 2"),
    ],
)
def test_a_run_with_other_flags_is_refused(first_seed, flags, tmp_path, monkeypatch, changes, words):
    monkeypatch.setattr(runs, "train", None)
    with pytest.raises(RecordError, match=words):
        study.run(ARMS, [0], folder=tmp_path / "more", answers=16, continues=first_seed, **{**flags, **changes})
    assert not (tmp_path / "more").exists()


def test_other_weights_and_other_prompts_are_refused(first_seed, flags, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "train", None)
    swapped = {**flags, "student": flags["teacher"], "teacher": flags["student"]}
    for seed in (0, 7):  # one that the record holds, and a new one
        with pytest.raises(RecordError, match="began with a student of fingerprint"):
            study.run(ARMS, [seed], folder=tmp_path / "more", answers=16, continues=first_seed, **swapped)
        with pytest.raises(RecordError, match="answers to other prompts"):
            study.run(ARMS, [seed], folder=tmp_path / "more", answers=8, continues=first_seed, **flags)


def test_runs_of_other_weights_are_not_added(first_seed, two_seeds, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(two_seeds / "vgs-1", other / "vgs-1", symlinks=True)
    config = json.loads((other / "vgs-1/config.json").read_text())
    config["weights"]["teacher"] = "0" * 16
    (other / "vgs-1/config.json").write_text(json.dumps(config))
    with pytest.raises(RecordError, match="began with other weights"):
        effects.grow(first_seed, other)
    assert len(read_record(first_seed).verdicts) == 16 * 2


def test_the_commands_name_each_other(first_seed, two_seeds, flags, capsys):
    words = [word for name, value in flags.items() for word in ("--" + name.replace("_", "-"), str(value))]
    words += ["--arms", *ARMS, "--seeds", "1", "--answers", "16", "--out", str(two_seeds)]
    assert main([*words, "--continue", str(first_seed)]) == 0
    assert f"next: python -m study.effects {two_seeds} --continue {first_seed}" in capsys.readouterr().out
    assert effects.main([str(two_seeds), "--continue", str(first_seed)]) == 0
    assert len(read_record(first_seed).verdicts) == 16 * 4
