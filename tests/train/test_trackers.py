"""Trackers: what is logged of a journal line, and that nothing is where nothing is asked for."""

import json
import os
import subprocess
import sys

import pytest
from accelerate.tracking import GeneralTracker

from cli.errors import OptionError
from records import read_journal
from records.journal import JOURNAL
from tests.train.small import flags, small
from train import trackers
from train.__main__ import main
from train.config import Config
from train.loop import train

KINDS = ("step", "evaluation", "geometry")


class Kept(GeneralTracker):
    """Keeps what it is given."""

    name = "kept"
    requires_logging_directory = False

    def __init__(self):
        super().__init__()
        self.settings, self.logged, self.ended = None, [], 0

    @property
    def tracker(self):
        return self

    def store_init_configuration(self, values):
        self.settings = values

    def log(self, values, step=None, **kwargs):
        self.logged.append((step, values))

    def finish(self):
        self.ended += 1


@pytest.fixture
def kept(monkeypatch):
    """A tracker in the place of the one asked for."""
    tracker = Kept()
    monkeypatch.setattr(trackers, "logging", lambda config, folder: {"log_with": [tracker]} if config.track else {})
    return tracker


def test_each_line_of_the_journal_is_logged_at_its_step(checkpoints, tmp_path, kept):
    folder = train(small(checkpoints, out=str(tmp_path / "run"), steps=2, track="tensorboard"))
    written = [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]
    assert [(step, {name.split("/")[0] for name in values}) for step, values in kept.logged] == [
        (line["step"], {line["kind"]}) for line in written
    ]
    for line, (_, values) in zip(written, kept.logged, strict=True):
        kind = line["kind"]
        assert set(values) == set(
            numbers(kind, {k: v for k, v in line.items() if k not in ("version", "kind", "step")})
        )
        for loss in ("standard", "language", "visual") if kind != "geometry" else ():
            assert values[f"{kind}/losses/{loss}"] == pytest.approx(line["losses"][loss])
    assert kept.ended == 1 and kept.settings["gamma"] == 2.0 and "track" not in kept.settings
    assert all(isinstance(value, (bool, int, float, str)) for value in kept.settings.values())


class OfWandb(Kept):
    """Takes pictures and tables, too."""

    name = "wandb"

    def __init__(self):
        super().__init__()
        self.pictures, self.tables = [], []

    def log_images(self, values, step=None, **kwargs):
        self.pictures.append((step, values))

    def log_table(self, name, columns=None, data=None, dataframe=None, step=None, **kwargs):
        self.tables.append((step, name, columns, data))


def test_pictures_and_responses_are_handed_over_at_each_evaluation(checkpoints, tmp_path, monkeypatch):
    tracker = OfWandb()
    monkeypatch.setattr(trackers, "logging", lambda config, folder: {"log_with": [tracker]})
    folder = train(small(checkpoints, out=str(tmp_path / "run"), steps=2, evaluate_every=2, track="wandb"))
    assert [step for step, _ in tracker.pictures] == [2]  # before the first step there is nothing to draw
    assert {"pictures/loss_dynamics", "pictures/training_curves"} <= set(tracker.pictures[-1][1])
    assert [(step, name) for step, name, _, _ in tracker.tables] == [(0, "responses"), (2, "responses")]
    _, _, columns, rows = tracker.tables[-1]
    own = dict(zip(columns, rows[0], strict=True))
    assert len(rows) == 4 and own["tokens"].count("(") >= own["n_tokens"] and own["vds_nats"] >= 0.0
    line = read_journal(folder).evaluations[-1]
    lengths = [row[columns.index("n_tokens")] for row in rows]
    language = sum(n * row[columns.index("language_nats")] for n, row in zip(lengths, rows, strict=True))
    assert language / sum(lengths) == pytest.approx(line.own_losses["language"], rel=1e-5)


def numbers(place, value):
    """The places of the numbers in a line."""
    if isinstance(value, dict):
        return [found for name, inner in value.items() for found in numbers(f"{place}/{name}", inner)]
    return [] if value is None or isinstance(value, list) else [place]


def test_a_run_that_fails_ends_its_tracker(checkpoints, tmp_path, kept, monkeypatch):
    def fail(*_):
        raise KeyError("x")

    monkeypatch.setattr("train.loop.update", fail)
    with pytest.raises(KeyError):
        train(small(checkpoints, out=str(tmp_path / "run"), track="wandb"))
    assert kept.ended == 1


def test_a_run_is_continued_with_another_tracker_or_none(checkpoints, tmp_path, kept):
    config = small(checkpoints, out=str(tmp_path / "run"), steps=1, evaluate_every=0, geometry_every=0)
    assert main([*flags(config), "--track", "tensorboard"]) == 0
    assert main([*flags(config), "--resume"]) == 0
    assert main([*flags(config), "--resume", "--track", "wandb"]) == 0
    assert Config(track="wandb").folder == Config().folder


def test_a_missing_package_is_one_line_before_anything_is_written(checkpoints, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(trackers, "get_available_trackers", lambda: [])
    for name, package in (("wandb", "wandb"), ("comet_ml", "comet-ml")):
        assert main(flags(small(checkpoints, out=str(tmp_path / "run"), track=name))) == 2
        [line] = capsys.readouterr().err.splitlines()
        expected = f"`track` needs the package {package}, which is not installed: pip install {package}"
        assert line == f"error: {expected}"
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--track", "paper"])
    assert "track" in capsys.readouterr().err


def test_what_is_asked_of_accelerate(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, "get_available_trackers", lambda: ["tensorboard"])
    assert trackers.logging(Config(), tmp_path) == {}
    asked = {"log_with": ["tensorboard"], "project_dir": str(tmp_path)}
    assert trackers.logging(Config(track="tensorboard"), tmp_path) == asked
    with pytest.raises(OptionError, match="`track` needs the package wandb"):
        trackers.logging(Config(track="wandb"), tmp_path)


def test_nothing_is_imported_unless_asked_for():
    code = "import sys, train.__main__; print({'peft', 'tensorboard', 'tensorboardX', 'wandb'} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
