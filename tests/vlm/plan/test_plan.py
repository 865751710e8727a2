"""What is made of costs: memory by phase, time, and what to change where it does not fit."""

import re
from dataclasses import replace

import pytest
import torch

from tests import published
from vlm.families import language_layers
from vlm.plan.costs import Costs, quantised_bytes
from vlm.plan.inputs import Shown
from vlm.plan.making import make_plan
from vlm.plan.memory import Memory
from vlm.plan.minutes import Minutes
from vlm.plan.outline import outline
from vlm.plan.plan import Room, duration, gb
from vlm.plan.rates import Rates, measured_rates
from vlm.plan.shapes_only import Counts
from vlm.plan.work import PHASES, Prompts, Settings, Work

RATES = Rates(flops=1e12, bytes=1e11, start_seconds=1e-5, device="cpu")
ROOM = Room("cpu", 10**12)


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
    alone = needs(costs, Settings(), phases=("loading", "rollouts"))
    assert alone["loading"].parts["weights"] == 4 * student
    assert quantised_bytes(costs.teacher, 8) < 2 * teacher


def test_a_frozen_prior_takes_a_copy_of_the_student_and_a_pass_of_its_text_view(costs):
    plain, prior = (needs(costs, Settings(), has_prior=has) for has in (False, True))
    for phase in PHASES:
        assert prior[phase].parts["first student"] == 4 * costs.student.n_parameters
        assert "first student" not in plain[phase].parts
    adapted = needs(costs, Settings(lora_rank=2), has_prior=True)
    assert all("first student" not in need.parts for need in adapted.values())
    assert Memory(costs, work(has_prior=True), Settings(dtype="bfloat16"), on_cpu=False).first_student() == (
        2 * costs.student.n_parameters
    )
    before, after = (Minutes(costs, work(has_prior=has), Settings(), RATES, {}).seconds() for has in (False, True))
    passed = RATES.seconds(costs.scoring(costs.student, "text", 16).forward)
    assert after["training step"] - before["training step"] == pytest.approx(8 / 16 * passed)
    assert after["rollouts"] == before["rollouts"]


def test_a_teacher_elsewhere_leaves_its_head_where_it_is_trained_under(costs):
    head = costs.teacher.n_rows * costs.teacher.width
    for dtype, itemsize in (("float32", 4), ("bfloat16", 2), ("int8", 2)):
        found = needs(costs, Settings(elsewhere=True, teacher_dtype=dtype))
        student = 4 * costs.student.n_parameters
        assert found["scoring"].parts["weights"] == student
        assert found["training step"].parts["weights"] == student + itemsize * head


@pytest.mark.parametrize(("saved_in", "short"), [("bfloat16", True), ("float32", False)])
def test_frozen_weights_of_adapted_layers_are_held_in_16_bits_where_exact(costs, saved_in, short):
    student = replace(costs.student, saved_in=saved_in)
    settings = Settings(dtype="bfloat16", teacher_dtype="bfloat16", lora_rank=2)
    run = {"phases": ("loading", "rollouts", "training step"), "keeps_float32": True}
    found = needs(replace(costs, student=student), settings, **run)
    teacher = 2 * costs.teacher.n_parameters
    adapted = sum(student.model.get_submodule(name).weight.numel() for name in language_layers(student.model))
    assert found["loading"].parts["weights"] == 4 * student.n_parameters + teacher  # before there are adapters
    held = 4 * student.n_parameters - 2 * adapted * short + teacher
    assert found["training step"].parts["weights"] == found["rollouts"].parts["weights"] == held


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


def test_a_null_holds_the_graphs_of_all_responses_where_they_fit(costs, monkeypatch):
    held, seconds = needs(costs, Settings())["null"].parts, make_plan(costs, work(), Settings(), ROOM, RATES).seconds
    monkeypatch.setattr("vlm.plan.memory.HELD_BYTES", held["graphs"] - 1)
    fresh, longer = needs(costs, Settings())["null"].parts, make_plan(costs, work(), Settings(), ROOM, RATES).seconds
    assert held["graphs"] == 8 * fresh["graphs"] > 0
    assert {**held, "graphs": 0} == {**fresh, "graphs": 0}
    assert longer["null"] > seconds["null"]


def test_changes_come_in_order_until_all_fits(costs):
    first = make_plan(costs, work(), Settings(batch=8, micro_batch=8), ROOM, RATES)
    room = Room("cpu", int(0.9 * first.peak_bytes))
    plan = make_plan(costs, work(), Settings(batch=8, micro_batch=8), room, RATES)
    assert not plan.fits and plan.can_fit
    peaks = [plan.peak_bytes, *(change.peak_bytes for change in plan.changes)]
    assert peaks == sorted(peaks, reverse=True) and peaks[-1] <= room.free_bytes
    assert "--batch" not in plan.changes[0].words.replace("--micro-batch", "")  # a batch does not help a step
    assert sum(change.gain_bytes for change in plan.changes) == plan.peak_bytes - peaks[-1]
    lines = [f"{change.words} +{re.escape(gb(change.gain_bytes))} GB less" for change in plan.changes]
    assert all(re.search(line, str(plan)) for line in lines)


def test_what_changes_no_number_is_tried_first(costs):
    least = make_plan(costs, work(), Settings(micro_batch=8), Room("cuda", 1), RATES)
    names = [change.words.split()[0] for change in least.changes]
    assert set(names) >= {"--micro-batch", "--gradient-checkpointing", "--dtype"}
    assert names.index("--gradient-checkpointing") < names.index("--dtype")
    assert not least.can_fit and str(least).splitlines()[-1] == "it does not fit even with all these changes"


def test_a_trainer_is_told_of_its_own_batch_and_of_no_quantised_teacher(costs):
    run = work(phases=("loading", "rollouts", "training step"), keeps_float32=True)
    free = Room("cuda", 1)
    words = [change.words for change in make_plan(costs, run, Settings(micro_batch=8), free, RATES).changes]
    assert not any(word.startswith(("--batch", "--teacher-dtype", "--offload")) for word in words)
    rolled = replace(run, phases=("rollouts",))
    words = [change.words for change in make_plan(costs, rolled, Settings(batch=8), free, RATES).changes]
    assert words[0].startswith("--generation-batch ")


def test_offload_gives_way_to_an_8_bit_teacher_where_that_takes_less(costs):
    scored = replace(work(phases=("loading", "scoring")))
    plan = make_plan(costs, scored, Settings(dtype="bfloat16", teacher_dtype="bfloat16"), Room("cuda", 1), RATES)
    flags = [change.words for change in plan.changes]
    last = plan.changes[-1].settings
    assert ("--offload" in flags) == last.offload
    assert ("--teacher-dtype int8" in flags) == (last.teacher_dtype == "int8")
    assert last.offload != (last.teacher_dtype == "int8")


@pytest.mark.parametrize(("visual", "smaller"), [(4096, True), (16, False)])
def test_smaller_pictures_are_advised_where_pictures_dominate(costs, visual, smaller):
    shown = replace(costs, prompts=Prompts(Shown(visual + 24, visual), Shown(24), 8))
    room = Room("cpu", 1)
    plan = make_plan(shown, work(phases=("scoring",)), Settings(batch=1), room, RATES)
    pixels = [change for change in plan.changes if change.words.startswith("--max-pixels")]
    assert bool(pixels) == smaller
    if smaller:
        assert int(pixels[0].words.split()[1]) % (published.PATCH_PX * published.MERGE) ** 2 == 0
        assert pixels[0].gain_bytes > 0


def test_a_plan_says_what_is_planned_first_and_whether_it_fits_last(costs):
    lines = str(make_plan(costs, work(n_steps=3), Settings(), Room("cpu", 10**12), RATES)).splitlines()
    for word in ("student", "(float32)", "teacher", "on cpu", "batch 16", "micro-batch 16", "32 tokens"):
        assert word in lines[0]
    assert lines[-1].endswith("it fits") and lines[-1].startswith("peak: ")
    table = lines[2 : 4 + len(PHASES)]
    parts = table[0].index("largest parts")
    assert all(line[parts - 2 : parts].strip() == "" for line in table)  # columns stand below each other
    assert " x 3  " in lines[2 + len(PHASES)] and table[-1].startswith("all ")


def test_durations_are_readable():
    times = (0.01, 3.14, 45.0, 119.0, 150.0, 7200.0, 36000.0)
    assert [duration(t) for t in times] == ["< 0.1 s", "3.1 s", "45 s", "119 s", "2.5 min", "2.0 h", "10 h"]


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
