"""The recipe resumes where it was killed and learns."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bundled import recipe
from bundled.recipe import Recipe, Stage, Training

SMALL = {"layers": 1, "width": 64, "heads": 2, "mlp": 64, "vision_layers": 2, "vision_width": 32}
STAGES = (Stage("see", 3, 1e-3), Stage("speak", 4, 1e-3, blind_share=0.5, caption_share=0.25))
RECIPE = Recipe("small", SMALL, STAGES, seed=5)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "BATCH", 4)
    monkeypatch.setattr(recipe, "CHECKPOINT_EVERY", 1)


@pytest.mark.parametrize("killed_after", [1, 3, 4, 6])
def test_a_killed_run_continues_bitwise(tmp_path: Path, killed_after: int) -> None:
    whole = _trained(tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    _die_after(killed_after, Training(RECIPE, tmp_path / "killed"))
    resumed = Training(RECIPE, tmp_path / "killed")
    resumed.run()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    logs = [(tmp_path / name / "small.jsonl").read_text() for name in ("whole", "killed")]
    assert logs[0] == logs[1]


def test_the_probes_learn_to_read_a_picture(tmp_path: Path) -> None:
    training = _trained(tmp_path, replace(RECIPE, stages=(Stage("see", 60, 3e-3),)))
    losses = [json.loads(line)["loss_nats"] for line in training.log.read_text().splitlines()]
    assert losses[-1] < 0.8 * losses[0]


def _trained(folder: Path, stages: Recipe = RECIPE) -> Training:
    folder.mkdir(exist_ok=True)
    training = Training(stages, folder)
    training.run()
    return training


class _Killed(Exception):
    pass


def _die_after(steps: int, training: Training) -> None:
    update, done = training._update, []

    def dying(stage: Stage) -> None:
        if len(done) == steps:
            raise _Killed
        done.append(stage)
        update(stage)

    training._update = dying  # type: ignore[method-assign]
    with pytest.raises(_Killed):
        training.run()
