"""A run whose files are not those that it wrote does not go on; the file is named, and nothing is written."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cli.signals import Interrupted
from records import RecordError
from records.journal import read_journal
from tests.train.small import flags, small
from train import loop
from train.__main__ import main
from train.held import refuse_changed
from train.loop import train

EVERY = 2


@pytest.fixture(scope="module")
def config(checkpoints):
    changes = {"steps": 3, "evaluate_every": 2, "geometry_every": 0, "checkpoint_every": EVERY}
    return small(checkpoints, **changes, objective="standard")


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """A run of three steps; its best checkpoint is not its last."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.loop.headline", lambda line: -abs(line.step - 2))
        train(replace(config, out=str(folder)))
    return folder


@pytest.fixture(scope="module")
def other(config, tmp_path_factory):
    """The same of another seed."""
    folder = tmp_path_factory.mktemp("runs") / "other"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.loop.headline", lambda line: -abs(line.step - 2))
        train(replace(config, out=str(folder), seed=1))
    return folder


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run", symlinks=True)


def contents(folder: Path) -> dict[str, bytes | str]:
    """All files and links, but not the lock."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or (path.is_file() and path.name != "lock")
    }


def point(run: Path, link: str, target: str) -> None:
    (run / link).unlink()
    (run / link).symlink_to(target)


def changed(name: str, old: bytes, new: bytes):
    def change(run: Path, _: Path) -> None:
        content = (run / name).read_bytes()
        assert old in content
        (run / name).write_bytes(content.replace(old, new, 1))

    return change


def removed(name: str):
    def change(run: Path, _: Path) -> None:
        (run / name).unlink()

    return change


def cut(name: str):
    def change(run: Path, _: Path) -> None:
        content = (run / name).read_bytes()
        (run / name).write_bytes(content[: len(content) // 2])

    return change


def taken(name: str):
    """The file of another run in its place."""

    def change(run: Path, other: Path) -> None:
        assert (run / name).read_bytes() != (other / name).read_bytes()
        shutil.copy(other / name, run / name)

    return change


def weights_of_best(run: Path, _: Path) -> None:
    shutil.copy(run / "best" / "model.safetensors", run / "last" / "model.safetensors")


def another_checkpoint(run: Path, other: Path) -> None:
    shutil.rmtree((run / "last").resolve())
    shutil.copytree((other / "last").resolve(), run / os.readlink(run / "last"))


def wiped(run: Path, _: Path) -> None:
    (run / "last").unlink()
    (run / "best").unlink()
    shutil.rmtree(run / "checkpoints")


CHANGES = {
    "no training.pt": (removed("last/training.pt"), "training.pt` is missing"),
    "no weights": (removed("last/model.safetensors"), "model.safetensors` is missing"),
    "no pair.json": (removed("last/pair.json"), "pair.json` is missing"),
    "no tokenizer": (removed("last/tokenizer.json"), "tokenizer.json` is missing"),
    "no config.json of last": (removed("last/config.json"), "last/config.json` is missing"),
    "no held_out.json": (removed("held_out.json"), "held_out.json` is missing"),
    "no journal": (removed("metrics.jsonl"), "metrics.jsonl` ends after 0 steps"),
    "last dangles": (lambda run, _: point(run, "last", "checkpoints/step-000009"), "last` points to nothing"),
    "best dangles": (lambda run, _: point(run, "best", "checkpoints/step-000009"), "best` points to nothing"),
    "no last": (removed("last"), "last` is missing"),
    "no best": (removed("best"), "best` is missing"),
    "no checkpoints": (wiped, "last` is missing"),
    "last lies elsewhere": (lambda run, other: point(run, "last", str(other / "last")), "one of the run's own"),
    "another run's checkpoint": (another_checkpoint, "(metrics.jsonl|held_out.json)` was changed"),
    "weights of best in last": (weights_of_best, "last/model.safetensors` was changed"),
    "weights of another run": (taken("last/model.safetensors"), "last/model.safetensors` was changed"),
    "weights of best replaced": (taken("best/model.safetensors"), "best/model.safetensors` was changed"),
    "training.pt of another run": (taken("last/training.pt"), "training.pt` was changed"),
    "training.pt cut": (cut("last/training.pt"), "training.pt` was changed"),
    "weights cut": (cut("last/model.safetensors"), "model.safetensors` was changed"),
    "held_out.json of another run": (taken("held_out.json"), "held_out.json` was changed"),
    "held_out.json cut": (cut("held_out.json"), "held_out.json` was changed"),
    "journal of another run": (taken("metrics.jsonl"), "metrics.jsonl` was changed"),
    "journal cut": (cut("metrics.jsonl"), "metrics.jsonl` ends after"),
    "journal edited": (changed("metrics.jsonl", b'"skipped": false', b'"skipped": true'), "metrics.jsonl` was changed"),
    "config of the model": (changed("last/config.json", b'"model_type"', b'"model_typo"'), "config.json` was changed"),
    "list damaged": (cut("last/checkpoint.json"), "checkpoint.json` is damaged"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_run_does_not_go_on_and_nothing_is_written(run, other, name):
    change, complaint = CHANGES[name]
    change(run, other)
    before = contents(run)
    with pytest.raises(RecordError, match=complaint) as caught:
        refuse_changed(run, EVERY)
    assert "\n" not in str(caught.value)
    assert contents(run) == before


def test_a_run_that_nobody_touched_goes_on(run):
    before = contents(run)
    refuse_changed(run, EVERY)
    assert contents(run) == before


@pytest.mark.parametrize("name", ["no training.pt", "no held_out.json", "last dangles", "weights of another run"])
def test_the_command_refuses_in_one_line_and_writes_nothing(config, run, other, name, capsys):
    change, complaint = CHANGES[name]
    change(run, other)
    before = contents(run)
    assert main(flags(replace(config, out=str(run), resume=True))) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and complaint in said[0]
    assert contents(run) == before and not (run / "lock").exists()


def test_a_list_that_is_missing_is_missed(config, run):
    (run / "last" / "checkpoint.json").unlink()
    before = contents(run)
    with pytest.raises(RecordError, match="checkpoint.json` is missing"):
        train(replace(config, out=str(run), resume=True))
    assert contents(run) == before


def test_flags_that_do_not_fit_leave_the_folder_as_it_was(config, run):
    before = contents(run)
    for changes in ({"held_out": 5}, {"lora_rank": 2}):
        with pytest.raises(RecordError):
            train(replace(config, out=str(run), resume=True, override=True, **changes))
        assert contents(run) == before


def test_a_checkpoint_of_an_earlier_version_goes_on(config, run):
    """It has no list, and its state does not speak of one."""
    for link in ("last", "best"):
        (run / link / "checkpoint.json").unlink()
        path = run / link / "training.pt"
        state = torch.load(path, weights_only=True)
        del state["listed"]
        torch.save(state, path)
    train(replace(config, out=str(run), resume=True, override=True, steps=4))
    assert [line.step for line in read_journal(run).steps] == [0, 1, 2, 3]
    assert json.loads((run / "last" / "checkpoint.json").read_text())["step"] == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_training_after_its_step_with_a_checkpoint(config, whole, tmp_path, monkeypatch, capsys, number):
    real, began = loop.update, []

    def interrupted(*args):
        began.append(args)
        if len(began) == 1:
            os.kill(os.getpid(), number)
        return real(*args)

    monkeypatch.setattr(loop, "headline", lambda line: -abs(line.step - 2))
    monkeypatch.setattr(loop, "update", interrupted)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    given = replace(config, out=str(tmp_path / "run"))
    assert main(flags(given)) == 128 + number
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("stopped: ")]
    assert len(said) == 1 and "/last` holds step 1: go on with `--resume`" in said[0]
    assert os.readlink(tmp_path / "run" / "last") == "checkpoints/step-000001" and not (tmp_path / "run/lock").exists()
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    train(replace(given, resume=True))
    for name in ("last/model.safetensors", "best/model.safetensors", "held_out.json"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()


def test_a_second_signal_ends_training_at_once(config, tmp_path, monkeypatch):
    def twice(*_):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop, "update", twice)
    with pytest.raises(Interrupted):
        train(replace(config, out=str(tmp_path / "run")))
    assert not (tmp_path / "run" / "last").exists() or (tmp_path / "run" / "last").is_dir()
