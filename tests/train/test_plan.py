"""The plan of a run, against the models as a trainer holds them."""

import pytest

from train.config import Config
from train.plan import plan_of
from train.prior import frozen_prior
from train.run import prepare_student
from vlm.checkpoints.pair import load_pair
from vlm.plan.plan import Room


@pytest.mark.parametrize("settings", [{"lora_rank": 2}, {}], ids=["adapters", "weights"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_weights_are_those_that_a_trainer_holds(settings, dtype):
    if settings:
        pytest.importorskip("peft")
    config = Config(dtype=dtype, device="cpu", max_response=8, **settings)
    plan = plan_of(config)
    pair = load_pair(config.student, None, dtype="float32", teacher_dtype=dtype, device="cpu")
    whole = {weight: weight.nbytes for loaded in pair.models for weight in loaded.model.parameters()}
    pair, adapters = prepare_student(pair, config)
    ours = set() if adapters is None else set(adapters.parameters.values())
    held = sum(p.nbytes for loaded in pair.models for p in loaded.model.parameters() if p not in ours)
    weights = {need.phase: need.parts["weights"] for need in plan.needs}
    assert weights == {"loading": sum(whole.values()), "rollouts": held, "training step": held}
    assert (held < sum(whole.values())) == (bool(settings) and dtype == "bfloat16")


def test_a_half_precision_checkpoint_is_planned_as_it_is_trained(monkeypatch):
    taken = {}
    monkeypatch.setattr("train.plan.draw_up", lambda models, *_: taken.setdefault("models", models) and 1 / 0)
    monkeypatch.setattr(Config, "is_on_cpu", property(lambda _: False))
    with pytest.raises(ZeroDivisionError):
        plan_of(Config(max_response=8))
    assert taken["models"].dtypes == ("bfloat16", "bfloat16")  # the bundled pair was saved in it


@pytest.mark.parametrize(
    "settings", [{"objective": "auto"}, {"objective": "vgs", "prior": "frozen"}], ids=["auto", "vgs"]
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_frozen_prior_is_another_copy_of_the_student(settings, dtype):
    """On a CPU in every phase; with adapters there is none."""
    config = Config(dtype=dtype, device="cpu", max_response=8, **settings)
    plan = plan_of(config)
    pair = load_pair(config.student, None, dtype="float32", teacher_dtype=dtype, device="cpu")
    prior = frozen_prior(config, pair, None)
    held = {need.parts["first student"] for need in plan.needs}
    assert held == {sum(weight.nbytes for weight in prior.student.model.parameters())}
    pytest.importorskip("peft")
    adapted = plan_of(Config(dtype=dtype, device="cpu", max_response=8, lora_rank=2, **settings))
    assert all("first student" not in need.parts for need in adapted.needs)


def test_no_other_objective_holds_a_copy():
    for settings in ({}, {"objective": "vgs", "prior": "frozen", "gamma": 0.0}, {"objective": "suppression"}):
        plan = plan_of(Config(device="cpu", max_response=8, **settings))
        assert all("first student" not in need.parts for need in plan.needs)


def test_on_an_accelerator_the_copy_is_a_note(monkeypatch):
    """There it is in the machine's memory, not on the device."""
    monkeypatch.setattr("vlm.plan.setting_up.room_on", lambda *_: Room("cuda", int(1e12)))
    plan = plan_of(Config(objective="auto", device="cpu", max_response=8))
    assert all("first student" not in need.parts for need in plan.needs)
    [note] = [note for note in plan.notes if note.startswith("the frozen prior is another copy of the student")]
    assert "GB of the machine's memory" in note
