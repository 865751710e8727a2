"""The flags of arms: what each differs in, and what all share."""

import pytest

from cli.errors import OptionError
from study.arms import ARMS, arm_flags
from train.config import Config


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_is_a_run_of_train(arm):
    config = Config(**arm_flags(arm, 3, {}))
    assert (config.seed, config.steps, config.evaluate_every) == (3, 150, 50)
    assert config.batch * config.group_size == 64


def test_an_arm_has_its_own_flags_whatever_is_shared():
    found = arm_flags("vgs-lp-gamma-3", 0, {"gamma": 1.0, "lr": 1e-4})
    assert (found["gamma"], found["lr"], found["eta"]) == (3.0, 1e-4, "none")
    assert arm_flags("vgs-lp-unclipped-eta", 0, {})["eta"] == 0.41


def test_a_preset_fills_in_what_is_missing():
    found = arm_flags("grpo", 0, {"preset": "paper-2b", "lr": 1e-5})
    assert (found["steps"], found["lr"], found["eta"]) == (353, 1e-5, "none")
    assert (found["batch"], found["rollouts_per_prompt"]) == (128, 4)


def test_as_many_rollouts_with_a_reward():
    found = arm_flags("grpo+vgs-lp", 0, {"batch": 24})
    assert (found["batch"], found["rollouts_per_prompt"]) == (6, 4)
    with pytest.raises(OptionError, match="multiple of 4 rollouts for arm 'grpo', got 10"):
        arm_flags("grpo", 0, {"batch": 10})


def test_no_such_arm():
    with pytest.raises(OptionError, match="`arms` must be of initial, standard, .*, got 'vgs-7'"):
        arm_flags("vgs-7", 0, {})
