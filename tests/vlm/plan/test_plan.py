"""What is made of costs: memory by phase, time, and what to change where it does not fit."""

from dataclasses import replace

import pytest
import torch

from tests import published
from vlm.plan.costs import Costs, quantised_bytes
from vlm.plan.inputs import Shown
from vlm.plan.making import make_plan
from vlm.plan.memory import Memory
from vlm.plan.outline import outline
from vlm.plan.plan import Room
from vlm.plan.rates import Rates, measured_rates
from vlm.plan.shapes_only import Counts
from vlm.plan.work import PHASES, Prompts, Settings, Work

RATES = Rates(flops=1e12, bytes=1e11, start_seconds=1e-5, device="cpu")


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    shape = published.Shape(64, 2, 2, 1, 96, 32, 2, 4, 64, (0,), head_dim=32)
    for name, one in {"student": shape, "teacher": shape._replace(width=96, tied=False)}.items():
        published.config(one).save_pretrained(folder / name)
    pair = [outline(str(folder / name)) for name in ("student", "teacher")]
    return Costs(*pair, Prompts(Shown(40, 16), Shown(24), 8), 32)


def work(**changes):
    return replace(Work(PHASES, n_responses=8, max_response=32, n_probed=20, per_step=8), **changes)


def needs(costs, settings, **changes):
    return {need.phase: need for need in Memory(costs, work(**changes), settings, on_cpu=True).needs()}


def test_weights_count_in_their_dtypes(costs):
    found = needs(costs, Settings(dtype="bfloat16", teacher_dtype="float32"))
    student, teacher = costs.student.n_parameters, costs.teacher.n_parameters
    assert found["scoring"].parts["weights"] == 2 * student + 4 * teacher
    assert found["training step"].parts["weights"] == 4 * student + 4 * teacher  # a trained student is float32
    assert quantised_bytes(costs.teacher, 8) < 2 * teacher


def test_a_teacher_elsewhere_leaves_its_head_where_it_is_trained_under(costs):
    head = costs.teacher.n_rows * costs.teacher.width
    for dtype, itemsize in (("float32", 4), ("bfloat16", 2), ("int8", 2)):
        found = needs(costs, Settings(elsewhere=True, teacher_dtype=dtype))
        student = 4 * costs.student.n_parameters
        assert found["scoring"].parts["weights"] == student
        assert found["training step"].parts["weights"] == student + itemsize * head


def test_a_trainer_keeps_float32_under_adapters_too(costs):
    settings = Settings(dtype="bfloat16", teacher_dtype="bfloat16", lora_rank=2)
    found = needs(costs, settings, keeps_float32=True)["training step"].parts["weights"]
    assert found == 4 * costs.student.n_parameters + 2 * costs.teacher.n_parameters


def test_a_step_counts_adams_state_sums_and_graph(costs):
    found = needs(costs, Settings(micro_batch=4), n_gradients=3)["training step"].parts
    assert found["AdamW"] == 8 * costs.student.n_parameters
    assert found["sums of gradients"] == 3 * 4 * costs.student.n_parameters


def test_checkpointing_adapters_and_a_frozen_tower_take_less(costs):
    plain = Settings(micro_batch=8)
    whole, less = (
        needs(costs, settings)["training step"].total
        for settings in (plain, replace(plain, gradient_checkpointing=True))
    )
    adapters = needs(costs, replace(plain, lora_rank=2))["training step"]
    frozen = needs(costs, replace(plain, freeze_vision=True))["training step"]
    assert less < whole and adapters.total < whole and frozen.total < whole
    assert all(p.requires_grad for p in costs.student.model.parameters())  # as it was before


def test_what_fits_is_left_as_it_is(costs):
    plan = make_plan(costs, work(), Settings(), Room("cpu", 10**12), RATES)
    assert plan.fits and plan.can_fit and not plan.changes
    assert set(plan.seconds) == set(PHASES) and min(plan.seconds.values()) > 0


def test_changes_come_in_order_until_all_fits(costs):
    first = make_plan(costs, work(), Settings(batch=8, micro_batch=8), Room("cpu", 10**12), RATES)
    room = Room("cpu", int(0.9 * first.peak_bytes))
    plan = make_plan(costs, work(), Settings(batch=8, micro_batch=8), room, RATES)
    assert not plan.fits and plan.can_fit
    peaks = [plan.peak_bytes, *(change.peak_bytes for change in plan.changes)]
    assert peaks == sorted(peaks, reverse=True) and peaks[-1] <= room.free_bytes
    assert "--batch" not in plan.changes[0].words.replace("--micro-batch", "")  # a batch does not help a step


def test_what_cannot_fit_is_refused_in_one_line(costs):
    plan = make_plan(costs, work(), Settings(), Room("cpu", 10**6), RATES)
    assert not plan.can_fit
    assert "\n" not in plan.refusal and "0.001 GB" in plan.refusal and "max_response" in plan.refusal


def test_time_is_products_traffic_and_operations():
    rates = Rates(flops=100.0, bytes=10.0, start_seconds=1.0, device="cpu")
    assert rates.seconds(Counts(flops=200, moved_bytes=30, n_ops=1)) == pytest.approx(2.0 + 3.0)
    assert rates.seconds(Counts(flops=200, n_ops=5)) == pytest.approx(2.0 + 5.0)
    assert rates.seconds(Counts(flops=200), weight_bytes=50) == pytest.approx(5.0)  # reading the weights takes longer


def test_rates_are_measured():
    found = measured_rates("cpu", torch.float32)
    assert 1e8 < found.flops < 1e14 and 1e8 < found.bytes < 1e13 and 0 < found.start_seconds < 0.1


def test_short_times_are_no_powers_of_ten(costs):
    plan = make_plan(costs, Work(("loading",), 8, 32), Settings(), Room("cpu", 10**10), RATES)
    rows = {
        seconds: str(replace(plan, seconds={"loading": seconds})).splitlines()[1].split()[2]
        for seconds in (1e-4, 0.6, 90.0)
    }
    assert rows == {1e-4: "<0.001", 0.6: "0.01", 90.0: "1.5"}
