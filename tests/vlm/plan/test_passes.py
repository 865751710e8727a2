"""A run on shapes against the same run on numbers: bytes and FLOP are counted alike."""

import pytest
import torch

from tests import models
from vlm.checkpoints.pair import load_pair
from vlm.checkpoints.places import CheckpointError
from vlm.plan.costs import SAMPLING_BYTES
from vlm.plan.inputs import Shown
from vlm.plan.outline import outline
from vlm.plan.passes import gradient_pass, sampling_costs, scoring_pass
from vlm.plan.shapes_only import ShapesOnly, ShapesOnlyError
from vlm.responses.rollouts import Sampling, _Chooser
from vlm.views.view import image_view, prompt_length

RESPONSE = 12


@pytest.fixture(scope="module")
def student(checkpoints):
    return outline(str(checkpoints / "student"))


@pytest.fixture(scope="module")
def loaded(checkpoints):
    return load_pair(str(checkpoints / "student"), str(checkpoints / "teacher")).student


@pytest.fixture(scope="module")
def shown(student):
    view = image_view(models.scenes(1)[0])
    return Shown(prompt_length(view, student.processor), 4, view, uneven=True)


def real_inputs(student, shown, batch):
    inputs = shown.inputs(student, batch, RESPONSE)
    return {name: torch.randn(value.shape) if value.is_meta else value for name, value in inputs.items()}


def test_an_outline_has_the_parameters_of_the_model_and_takes_no_memory(student, loaded):
    real = dict(loaded.model.named_parameters())
    assert {name: p.shape for name, p in student.model.named_parameters()} == {n: p.shape for n, p in real.items()}
    assert all(p.is_meta for p in student.model.parameters())
    assert student.n_parameters == sum(p.numel() for p in real.values())
    assert (student.n_ids, student.visual_ids) == (loaded.n_ids, loaded.visual_ids)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_pass_holds_and_computes_on_shapes_what_it_does_on_numbers(student, loaded, shown, batch):
    planned = scoring_pass(student, shown, batch, RESPONSE).forward
    inputs = real_inputs(student, shown, batch)
    length = inputs["input_ids"].shape[1]
    with torch.no_grad(), ShapesOnly(loaded.model) as run:
        run.holds(*inputs.values())
        hidden = loaded.model(**inputs, logits_to_keep=torch.arange(length - RESPONSE - 1, length - 1), use_cache=False)
    logits = hidden.logits.nbytes  # the plan runs the head on one row
    assert run.counts.flops > planned.flops > 0.8 * run.counts.flops
    assert planned.peak_bytes == pytest.approx(run.counts.peak_bytes, abs=logits)


def test_a_graph_keeps_on_shapes_what_it_does_on_numbers(student, loaded, shown):
    planned = gradient_pass(student, shown, 2, RESPONSE)
    inputs = real_inputs(student, shown, 2)
    with torch.enable_grad(), ShapesOnly(loaded.model) as run:
        run.holds(*inputs.values())
        logits = loaded.model(**inputs, logits_to_keep=RESPONSE, use_cache=False).logits
        kept = run.counts.live_bytes
        del logits
    assert planned.forward.live_bytes == pytest.approx(kept, rel=0.1)
    assert planned.backward.flops > planned.forward.flops


def test_costs_follow_the_batch(student, shown):
    two, four = (scoring_pass(student, shown, batch, RESPONSE) for batch in (2, 4))
    assert four.forward.peak_bytes == pytest.approx(two.times(2).forward.peak_bytes, rel=0.01)
    assert four.forward.flops == pytest.approx(2 * two.forward.flops, rel=0.01)


def test_the_cache_holds_keys_and_values_of_whole_responses(student, shown):
    costs = sampling_costs(student, shown, 2, RESPONSE)
    text = student.model.config.get_text_config()
    heads, size = text.num_key_value_heads, text.head_dim
    tokens = shown.tokens + RESPONSE - 1
    assert costs.cache_bytes == pytest.approx(2 * 2 * text.num_hidden_layers * heads * size * tokens * 4, rel=0.05)


def test_drawing_a_token_takes_as_many_bytes_as_are_planned():
    rows, n_ids = 3, 20_000
    sampling = Sampling(max_response=4)
    chooser = _Chooser([0, 1, 2], [5, 7], sampling)
    with torch.no_grad(), ShapesOnly(torch.nn.Identity()) as run:
        scores = torch.randn(rows, n_ids)
        chooser(torch.zeros(rows, 1, dtype=torch.long), scores)
    assert 0.75 * SAMPLING_BYTES < run.counts.peak_bytes / (rows * n_ids) <= SAMPLING_BYTES * 1.05


def test_a_number_that_shapes_do_not_have_is_asked_for_in_vain():
    with ShapesOnly(torch.nn.Identity()), pytest.raises(ShapesOnlyError, match="asks for a number"):
        torch.zeros(3, device="meta").sum().item()


@pytest.mark.parametrize("cost", [scoring_pass, gradient_pass, sampling_costs])
def test_a_model_that_fails_on_its_processors_pictures_is_one_line(student, shown, monkeypatch, cost):
    def fails(*_, **__):
        raise ValueError("picture features and tokens\ndo not match")

    monkeypatch.setattr(student.model, "forward", fails)
    with pytest.raises(CheckpointError) as refusal:
        cost(student, shown, 1, RESPONSE)
    said = str(refusal.value)
    assert said.startswith(f"`checkpoint` {student.name} cannot be planned (picture features") and "\n" not in said
