"""The built-in control: without a language gap, steering with a frozen prior is standard distillation.

The student differs from the teacher in the vision tower alone, so that q* with the prior of the student before training
is the teacher. Then the gradient of VGS is (1 + gamma) times the standard one in every step, and Adam's steps are the
same while nothing is clipped and eps is negligible. Prompts without a picture are not steered and are left out.
"""

from functools import partial

import pytest
import torch

from bundled import STUDENT
from bundled.prompts import group_prompts
from study.suite.weight_noise import add_noise
from train import Config
from train.loop import train
from vlm import names
from vlm.checkpoints.checkpoint import load_model

EPS = 1e-30  # against gradients of 1e-6 and more
FLAGS = {
    "prompts": "pictured",
    "batch": 4,
    "micro_batch": 4,
    "held_out": 4,
    "max_response": 5,
    "steps": 8,
    "lr": 1e-3,
    "eta": "none",
    "clip_norm": "none",
    "evaluate_every": 0,
    "geometry_every": 0,
    "allow_truncated": True,
}


@pytest.fixture(scope="module")
def students(checkpoints, tmp_path_factory):
    """The random teacher with noise in its vision tower, after runs by name."""
    folder = tmp_path_factory.mktemp("control")
    names.register("pictured", checkpoint=STUDENT, prompts=partial(group_prompts, "high"))
    first = load_model(str(checkpoints / "teacher"))
    add_noise(first.model, "vision", 1.0, seed=1)
    first.model.save_pretrained(folder / "first")
    first.processor.save_pretrained(folder / "first")
    pair = {"student": str(folder / "first"), "teacher": str(checkpoints / "teacher")}
    runs = {
        "standard": {"objective": "standard"},
        "frozen": {"objective": "vgs", "gamma": 3.0, "prior": "frozen"},
        "moving": {"objective": "vgs", "gamma": 3.0},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", partial(torch.optim.AdamW, eps=EPS))
        trained = {name: train(Config(**pair, **FLAGS, **own, out=str(folder / name))) for name, own in runs.items()}
    flat = {name: weights(load_model(str(run / "last"))) for name, run in trained.items()}
    return flat | {"first": weights(first)}


def weights(loaded):
    return torch.cat([parameter.detach().ravel().double() for parameter in loaded.model.parameters()])


def apart(students, one):
    """Return how far a run's weights are from the standard run's, as a share of the way that this went."""
    way = students["standard"] - students["first"]
    return ((students[one] - students["standard"]).norm() / way.norm()).item()


def test_a_frozen_prior_without_a_language_gap_is_standard_distillation(students):
    assert apart(students, "first") == 1.0
    assert apart(students, "frozen") < 1e-4


def test_a_prior_that_moves_is_not(students):
    assert apart(students, "moving") > 0.1
