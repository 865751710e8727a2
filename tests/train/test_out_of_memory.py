"""Memory that runs out in a micro-batch: it is halved, and the step comes out as it would have."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import vlm.responses.rollouts as rollouts_module
from geometry import total
from tests.train.small import batch, flags, learner, small, watch, weights
from train import grpo
from train.__main__ import main
from train.evaluation import evaluation_line, own_responses
from train.gradients import batch_grams
from train.part import Part
from train.prompts import prompt_source
from train.rollouts import generation_batches
from train.sharding import Sharding, gradients_of
from train.step import summed_gradient, update
from vlm.responses import batch_gradients
from vlm.responses.halving import TooLargeError
from vlm.responses.response import both_views

SAID = "CUDA out of memory. Tried to allocate 2.00 GiB"


def flat(summed):
    return torch.cat([g.flatten() for g in summed.gradient])


def fails_from(n_responses: int, real: Callable, calls: list) -> Callable:
    """A forward pass that memory is too small for, if so many responses are in it."""

    def forward(loaded, responses, n_ids, **kwargs):
        calls.append(len(responses))
        if len(responses) >= n_responses:
            raise torch.OutOfMemoryError(SAID)
        return real(loaded, responses, n_ids, **kwargs)

    return forward


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"eta": "none"},
        {"eta_scales": "loss"},
        {"objective": "standard"},
        {"objective": "grpo+standard", "rollouts_per_prompt": 2, "match_norm": True},
        {"support": "topk:3"},
    ],
)
def test_a_forward_pass_that_fails_is_made_in_smaller_ones(checkpoints, monkeypatch, capsys, changes):
    found = learner(small(checkpoints, **changes))
    made = batch(found)
    whole = summed_gradient(found, made, watch())
    calls = []
    monkeypatch.setattr("train.step.both_views", fails_from(3, both_views, calls))
    parts = summed_gradient(found, made, watch())
    assert calls[:8] == [6, 3, 1, 1, 1, 1, 1, 1] and found.micro_batches.size == 1
    assert float((flat(parts) - flat(whole)).norm() / flat(whole).norm()) < 1e-6
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6) and parts.eta == pytest.approx(whole.eta, rel=1e-5)
    for own, expected in zip(vars(parts.tokens).values(), vars(whole.tokens).values(), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-6)
    said = re.findall("note: .*", capsys.readouterr().err)
    assert said == [f"note: out of memory at a micro_batch of {n}, going on with {n // 2}" for n in (6, 3)]


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_backward_pass_that_fails_adds_nothing_twice(checkpoints, monkeypatch, failing):
    """With a measured eta three gradients are taken of a micro-batch; those before the failing one are kept."""
    found = learner(small(checkpoints))
    made = batch(found)
    whole, calls = summed_gradient(found, made, watch()), []

    def backward(loss, parameters, *, keep_graph):
        calls.append(loss)
        if len(calls) == failing:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
        return gradients_of(loss, parameters, keep_graph=keep_graph)

    monkeypatch.setattr("train.step.gradients_of", backward)
    parts = summed_gradient(found, made, watch())
    assert len(calls) == failing + 2 * (3 - failing + 1)
    assert float((flat(parts) - flat(whole)).norm() / flat(whole).norm()) < 1e-6
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6) and parts.eta == pytest.approx(whole.eta, rel=1e-6)
    assert len(parts.tokens.vds) == len(whole.tokens.vds)


def test_a_teacher_that_does_not_fit_is_run_in_halves(checkpoints, monkeypatch, capsys):
    found = learner(small(checkpoints))
    whole = batch(found)
    monkeypatch.setattr("train.teacher.both_views", fails_from(4, both_views, []))
    made = batch(found)
    assert [len(part) for part in made.micro_batches] == [3, 3]
    assert made.thresholds[0].high == pytest.approx(whole.thresholds[0].high, rel=1e-4)
    assert "going on with 3" in capsys.readouterr().err
    assert [len(part) for part in batch(found).micro_batches] == [3, 3]  # for the rest of the run
    gradients = [flat(summed_gradient(found, one, watch())) for one in (made, whole)]
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 1e-6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"`micro_batch` of 1 must fit into memory, it does not"),
        (
            {"quantile_scope": "micro-batch"},
            r"`micro_batch` of 6 must fit .* `quantile_scope` micro-batch depend on",
        ),
    ],
)
def test_what_cannot_be_halved_is_refused_and_the_weights_stay(checkpoints, monkeypatch, changes, message):
    found = learner(small(checkpoints, **changes))
    made, before = batch(found), weights(found)
    monkeypatch.setattr("train.step.both_views", fails_from(1, both_views, []))
    with pytest.raises(TooLargeError, match=message) as caught:
        update(found, made, watch())
    assert "\n" not in str(caught.value)
    assert torch.equal(weights(found), before) and not found.optimizer.state


def test_a_student_in_shards_is_not_halved(checkpoints, monkeypatch):
    """Each of its processes must run the passes that the others run."""
    found = replace(learner(small(checkpoints)), sharding=Sharding(torch.nn.Linear(1, 1), [], True))
    with pytest.raises(TooLargeError, match=r"`micro_batch` of 6 must fit .* it is not halved for a student in shards"):
        found.micro_batches.halve(6)


def test_other_errors_are_not_taken_for_it(checkpoints, monkeypatch):
    found = learner(small(checkpoints))
    made = batch(found)

    def broken(*args, **kwargs):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("train.step.both_views", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        summed_gradient(found, made, watch())


@pytest.mark.parametrize("changes", [{}, {"objective": "grpo", "top_p": 0.9, "updates": 2, "rollouts_per_prompt": 2}])
def test_smaller_parts_are_the_part(checkpoints, changes):
    """Each tensor of a part is cut at the same token."""
    from train.batch import batches_of_step

    found = learner(small(checkpoints, **changes))
    (part, *_) = batches_of_step(found, prompt_source(found.config).at(0), 1, watch())[0].parts
    halves = part.cut(2)
    assert [r.rollout.rollout_id for half in halves for r in half.responses] == [
        r.rollout.rollout_id for r in part.responses
    ]

    def columns(one: Part) -> list[torch.Tensor]:
        found = [one.teacher.image, one.teacher.text, one.shares, one.vds, one.advantages]
        if one.sampled is not None:
            shape = torch.Size([len(one.shares), 200])
            found += [one.sampled.log_probs, one.sampled.mask(shape)]
        return [column for column in found if column is not None]

    for whole, *cuts in zip(columns(part), *map(columns, halves), strict=True):
        assert torch.equal(torch.cat(cuts), whole)
        assert len(cuts[0]) == sum(r.n_tokens for r in halves[0].responses)


def fails_above(n_items: int, real: Callable, count: Callable, calls: list) -> Callable:
    """A function that memory is too small for, if `count` of its arguments is above a number."""

    def work(*args, **kwargs):
        calls.append(count(*args))
        if calls[-1] > n_items:
            raise torch.OutOfMemoryError(SAID)
        return real(*args, **kwargs)

    return work


@pytest.fixture
def few_at_a_time(monkeypatch):
    """Let memory hold two responses in generation, and return how many were tried at a time."""
    calls: list[int] = []
    real = rollouts_module._generate_part
    monkeypatch.setattr(rollouts_module, "_generate_part", fails_above(2, real, lambda _, jobs, __: len(jobs), calls))
    generation_batches.cache_clear()
    yield calls
    generation_batches.cache_clear()


def test_generation_stays_small_over_steps_and_evaluations(checkpoints, few_at_a_time, capsys):
    found = learner(small(checkpoints))
    prompts = prompt_source(found.config).at(0)
    made = batch(found)
    assert few_at_a_time[:3] == [6, 3, 1] and set(few_at_a_time[3:]) == {1}
    few_at_a_time.clear()
    batch(found, 1)
    own = own_responses(found, prompts)
    evaluation_line(found, 0, prompts[:2], own)
    assert set(few_at_a_time) == {1}
    assert capsys.readouterr().err.count("out of memory at a generation_batch") == 2
    assert len(made.responses) == 6


def test_an_evaluation_that_does_not_fit_is_made_in_smaller_passes(checkpoints, monkeypatch, capsys):
    found = learner(small(checkpoints))
    made = batch(found)
    prompts = prompt_source(found.config).at(0)[:2]
    whole = evaluation_line(found, 0, prompts, made.responses)
    calls: list[int] = []
    monkeypatch.setattr(type(found.accelerator), "num_processes", property(lambda self: 2))
    monkeypatch.setattr("train.sharing.gather_object", lambda made: made)
    monkeypatch.setattr("train.evaluation.both_views", fails_above(3, both_views, lambda _, part, __: len(part), calls))
    line = evaluation_line(found, 0, prompts, made.responses)
    assert calls == [6, 3, 3, 2] and found.passes.size == 3  # the fixed responses, then two of its own
    for name, loss in whole.losses.items():
        assert line.losses[name] == pytest.approx(loss, rel=1e-5)
    monkeypatch.setattr("train.evaluation.both_views", fails_above(0, both_views, lambda _, part, __: len(part), []))
    with pytest.raises(TooLargeError, match="`micro_batch` of 1 must fit into memory"):
        evaluation_line(found, 0, prompts, made.responses)


@pytest.mark.parametrize("failing", [0, 1, 3])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_measurement_of_the_gradients_adds_nothing_twice(checkpoints, monkeypatch, capsys, failing, processes):
    found = learner(small(checkpoints))
    made = batch(found)
    whole = total(batch_grams(found, made)).values
    real, calls = batch_gradients.add_row, []

    def add_row(sums, row, student, at_head):
        calls.append(len(student.image))
        if len(calls) == failing + 1:
            raise torch.OutOfMemoryError(SAID)
        real(sums, row, student, at_head)

    monkeypatch.setattr(batch_gradients, "add_row", add_row)
    monkeypatch.setattr(type(found.accelerator), "num_processes", property(lambda self: processes))
    parts = total(batch_grams(found, made)).values
    assert len(calls) == failing + 1 + 2 * (4 - failing)
    assert parts == pytest.approx(whole, rel=1e-5, abs=1e-9)
    assert "out of memory at a micro_batch of 6, going on with 3" in capsys.readouterr().err


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_the_sampling_weights_are_asked_in_smaller_passes(checkpoints, monkeypatch, top_p):
    found = learner(small(checkpoints, objective="grpo", top_p=top_p, updates=2, rollouts_per_prompt=2))
    part = batch(found).micro_batches[0]
    (whole,) = grpo.before_updates(found, [part])
    real = grpo._before_updates
    monkeypatch.setattr(grpo, "_before_updates", fails_above(4, real, lambda _, some: len(some), []))
    first, again = grpo.before_updates(found, [part, part])
    assert found.passes.size == 3 and torch.equal(first.log_probs, again.log_probs)
    torch.testing.assert_close(first.log_probs, whole.log_probs, rtol=1e-5, atol=1e-6)
    if top_p < 1.0:
        assert torch.equal(first.drawable, whole.drawable)


@pytest.mark.parametrize(
    "place", ["train.run.load_models", "vlm.responses.batch_gradients.DenseGradients", "train.step._apply"]
)
def test_what_cannot_be_cut_is_one_line(checkpoints, tmp_path, monkeypatch, capsys, place):
    def too_large(*args, **kwargs):
        raise torch.OutOfMemoryError(SAID)

    monkeypatch.setattr(place, too_large)
    config = small(checkpoints, out=str(tmp_path / "run"), steps=1, evaluate_every=0, geometry_every=1)
    assert main(flags(config)) == 2
    [line] = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    assert "memory must hold both models" in line and "`--dry-run` says" in line
