"""The average of the last weights, and a rate that falls: two ways to end a run with less noise."""

import json

import pytest
import torch
from safetensors.torch import load_file

from cli.errors import OptionError
from records.journal import JOURNAL
from tests.train.small import small
from tests.train.test_loop import train_in_two
from train.loop import train


def test_the_average_of_the_last_weights_is_a_checkpoint(checkpoints, tmp_path):
    settings = {"objective": "standard", "geometry_every": 0, "checkpoint_every": 1, "lr": 1e-2}
    runs = {
        steps: train(small(checkpoints, out=str(tmp_path / str(steps)), steps=steps, **settings)) for steps in (3, 4)
    }
    averaged = train(small(checkpoints, out=str(tmp_path / "mean"), steps=4, weight_average=0.5, **settings))
    last, before = (load_file(runs[steps] / "last/model.safetensors") for steps in (4, 3))
    mean = load_file(averaged / "averaged/model.safetensors")
    for name, weight in mean.items():
        torch.testing.assert_close(weight, (last[name] + before[name]) / 2, rtol=0.0, atol=1e-7)
    own = load_file(averaged / "last/model.safetensors")
    assert all(torch.equal(own[name], last[name]) for name in own)
    assert json.loads((averaged / "averaged/pair.json").read_text())["teacher"].endswith("teacher")


def test_an_average_continues_from_a_checkpoint(checkpoints, tmp_path, monkeypatch):
    settings = {"objective": "standard", "geometry_every": 0, "checkpoint_every": 3, "weight_average": 0.5, "lr": 1e-2}
    whole = train(small(checkpoints, out=str(tmp_path / "whole"), steps=4, **settings))
    cut = train_in_two(small(checkpoints, out=str(tmp_path / "cut"), steps=4, **settings), 3, monkeypatch)
    ours, theirs = (load_file(run / "averaged/model.safetensors") for run in (whole, cut))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("flag", ["weight_average", "lr_decay"])
@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_outside_0_to_1_is_refused(checkpoints, flag, share):
    with pytest.raises(OptionError, match=rf"`{flag}` must lie in \[0, 1\]"):
        small(checkpoints, **{flag: share})


def test_a_rate_that_decays_ends_near_0(checkpoints, tmp_path):
    config = small(checkpoints, steps=6, lr_decay=0.5, lr=1e-2)
    assert [config.rate(step) for step in range(6)] == pytest.approx([1e-2, 1e-2, 1e-2, 1e-2, 2e-2 / 3, 1e-2 / 3])
    assert small(checkpoints, lr=1e-2).rate(3) == 1e-2
    run = train(small(checkpoints, out=str(tmp_path / "run"), steps=3, lr_decay=1.0, geometry_every=0))
    assert len((run / JOURNAL).read_text().splitlines()) >= 3
