"""The trainer from Python and from the shell: names of the package, every objective's defaults, a run read back."""

import json
import subprocess
import sys
from typing import get_args

import pytest

import train as package
from figures import training_norms
from figures.style import styled
from geometry.objective_settings import Name
from records import JournalError, RecordError, read_journal
from tests.train.small import flags, small
from train import Config, TrainingError, read_run, train
from train.__main__ import main
from train.flags import RewardName, TrainerName


@pytest.fixture(scope="module")
def run(checkpoints, tmp_path_factory):
    """A run of two steps, whose gradients are measured in both."""
    out = str(tmp_path_factory.mktemp("runs") / "run")
    return train(small(checkpoints, objective="standard", out=out, steps=2, geometry_every=1, seed=3))


def test_the_names_of_the_package():
    assert callable(train) and train.__module__ == "train.loop"
    assert set(package.__all__) == {"Config", "TrainingError", "read_run", "train"}
    assert issubclass(TrainingError, RuntimeError) and Config().student == "bundled"


def test_reading_a_run_needs_no_torch():
    code = "import sys; from train import Config, read_run; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("objective", [*get_args(Name), *get_args(RewardName), *get_args(TrainerName)])
def test_every_objective_runs_with_no_further_flags(checkpoints, tmp_path, objective, capsys):
    config = small(checkpoints, out=str(tmp_path / "run"), steps=1, evaluate_every=0, geometry_every=0)
    argv = flags(config)
    assert "--rollouts-per-prompt" not in argv
    assert main([*argv, "--objective", objective]) == 0
    [line] = read_journal(tmp_path / "run").steps
    assert not line.skipped and line.losses["standard"] > 0
    settings = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]
    assert settings["rollouts_per_prompt"] == (4 if objective in get_args(RewardName) else 1)
    said = capsys.readouterr().out.splitlines()[-2:]
    last, teacher = tmp_path / "run" / "last", checkpoints / "teacher"
    student = checkpoints / "student"
    assert said == [
        f"run: {tmp_path / 'run'}",
        f"next: python -m probes.compare {student} {last} --teacher {teacher}",
    ]


def test_what_to_run_next_is_typed_as_this_was(checkpoints, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["vgs train"])
    config = small(checkpoints, out=str(tmp_path / "a run"), steps=1, evaluate_every=0, geometry_every=0)
    assert main(flags(config)) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("next: vgs compare ") and f"'{tmp_path / 'a run' / 'last'}'" in said


def test_a_run_is_read_back_as_pictures_take_it(run):
    found = read_run(run)
    assert set(found.tables) == {"curves", "steps", "evaluations", "gradients"}
    assert found.tables["steps"][["arm", "seed", "step"]].values.tolist() == [["standard", 3, 0], ["standard", 3, 1]]
    journal = read_journal(run)
    assert found.tables["steps"]["loss"].tolist() == [line.loss for line in journal.steps]
    assert set(found.tables["gradients"]["scope"]) == {*journal.geometry[0].norms, *journal.geometry[0].group_norms}
    assert found.header["settings"]["batch"] == 6 and found.header["pair"]["student"].endswith("student")
    assert set(found.header["weights"]) == {"student", "teacher"}
    with styled():
        figure = training_norms.draw(found)
    assert len(figure.axes) == 3


def test_a_folder_without_a_run_is_named(run, tmp_path):
    with pytest.raises(RecordError, match=r"holds no run: make one with `python -m train --out"):
        read_run(tmp_path)
    (tmp_path / "config.json").write_text((run / "config.json").read_text())
    with pytest.raises(JournalError, match=r"holds no metrics.jsonl"):
        read_run(tmp_path)
