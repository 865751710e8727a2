"""Directions of one half of the prompts: they, their products and what they change, against plain autograd."""

import numpy as np
import pandas as pd
import pytest
import torch

from geometry import FourViews, decompose, lm_head
from probes.stages import first_order, forecast, real_steps
from records.tables.forecast import DIRECTIONS
from tests import models
from tests.vlm.responses.test_token_scores import bend, with_memory_for
from vlm.prompts.sources import PromptError
from vlm.responses import scoring
from vlm.responses.halving import Batches
from vlm.responses.scoring import view_logits


@pytest.fixture(params=["at once", "by chunks", "no linear head, by chunks"])
def way(request, analyzer, monkeypatch):
    """How logits are made: of all tokens of a response, of two at a time, of two by a pass of their own."""
    if request.param != "at once":
        monkeypatch.setattr(lm_head, "CHUNK_BYTES", 8 * analyzer.pair.n_ids)
        monkeypatch.setattr(first_order, "CHUNK_BYTES", 8 * first_order.COPIES * analyzer.pair.n_ids)
    if "linear" not in request.param:
        yield request.param
        return
    student = analyzer.pair.student.model
    hook = student.register_forward_hook(bend)
    yield request.param
    hook.remove()
    scoring._WHOLE.discard(student)


def losses_of(analyzer, number):
    """The losses of a response, with a graph, each as in its definition."""
    rollout, pair = analyzer.rollouts[number], analyzer.pair
    views, responses = analyzer.views(rollout), [rollout.token_ids]
    (image,), (text,) = (view_logits(pair.student, [view], responses, pair.n_ids) for view in views)
    with torch.no_grad():
        teacher = [view_logits(pair.teacher, [view], responses, pair.n_ids)[0] for view in views]
    parts, held = (
        decompose(FourViews(image, text, *teacher)),
        decompose(FourViews(image, text.detach(), *teacher)).visual,
    )
    return {
        "standard": parts.standard,
        "language": parts.language,
        "visual": held,
        "prior": parts.standard - held,
        "shift": parts.visual - held,
        "gated_language": parts.language,
    }


def dense(analyzer, half, name):
    """The gradient of the mean over responses of the mean over tokens, by autograd, flattened."""
    parameters = list(analyzer.pair.student.model.parameters())
    means = []
    for number in half.numbers:
        values = losses_of(analyzer, number)[name]
        means.append((values * half.gates[number]).mean() if name == "gated_language" else values.mean())
    gradients = torch.autograd.grad(torch.stack(means).mean(), parameters, allow_unused=True)
    return models.flat(parameters, gradients)


def test_halves_part_the_prompts(tokens, halves):
    first, second = (set(tokens[tokens["rollout_id"].isin(half.numbers)]["prompt_id"]) for half in halves)
    assert not first & second and first | second == set(tokens["prompt_id"])
    assert abs(len(first) - len(second)) <= 1
    pictured = tokens[tokens["rollout_id"].isin(halves[0].numbers) & tokens["has_image"]]
    gate = pictured["vds_nats"].quantile(0.7)
    assert sum(int(gates.sum()) for gates in halves[0].gates.values()) == (pictured["vds_nats"] > gate).sum() > 0
    assert len({tuple(first_order.halves(tokens, seed)[0].numbers) for seed in range(5)}) > 1


def test_prompts_with_and_without_a_picture_are_parted_alike():
    numbers = np.arange(12)
    known = {"prompt_id": numbers.astype(str), "rollout_id": numbers, "has_image": numbers % 2 == 0}
    made = pd.DataFrame(known | {"vds_nats": numbers / 12})
    for half in first_order.halves(made, seed=0):
        assert len(half.numbers) == 6 and sum(number % 2 for number in half.numbers) == 3


def test_halves_keep_the_responses_of_a_prompt_together(tokens):
    doubled = pd.concat([tokens, tokens.assign(rollout_id=tokens["rollout_id"] + 8)], ignore_index=True)
    for half in first_order.halves(doubled, seed=0):
        assert {number % 8 for number in half.numbers if number >= 8} == {n for n in half.numbers if n < 8}


def test_a_half_without_a_picture_is_refused(tokens):
    lone = tokens["prompt_id"] == tokens["prompt_id"].iloc[0]
    with pytest.raises(PromptError, match="`limit` must leave a prompt with a picture in each half, got 1"):
        first_order.halves(tokens.assign(has_image=lone), seed=0)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_direction_is_minus_the_gradient_of_its_mean_loss(analyzer, halves, name, way):
    found = first_order.descent(analyzer, halves[0], {name: 1.0})
    twin = -dense(analyzer, halves[0], name)
    flat = torch.cat([v.ravel() for v in found.values()])
    if "linear" in way:  # each pass rounds its own gradients to float32, in the norms of the model
        assert (flat - twin).norm() < 1e-6 * twin.norm()
    else:
        torch.testing.assert_close(flat, twin, rtol=1e-8, atol=1e-12)
    assert twin.abs().max() > 1e-4


def test_products_are_those_of_the_gradients(analyzer, halves):
    rows = []
    for name in first_order.PASSES:
        rows.append(first_order.products(analyzer, halves[0], first_order.descent(analyzer, halves[0], {name: 1.0})))
    gram = forecast.gram_of(first_order.product_rows(pd.DataFrame(rows)))
    vectors = torch.stack([dense(analyzer, halves[0], name) for name in DIRECTIONS])
    np.testing.assert_allclose(gram.values, (vectors @ vectors.T).numpy(), rtol=1e-5, atol=1e-7)


def test_changes_are_products_with_the_gradients_of_the_tokens(analyzer, tokens, halves, way):
    along = first_order.descent(analyzer, halves[0], {"visual": 1.0})
    rows = first_order.change_rows(analyzer, halves[1], along, "visual")
    assert rows[["rollout_id", "position"]].equals(
        tokens[tokens["rollout_id"].isin(halves[1].numbers)][["rollout_id", "position"]].reset_index(drop=True)
    )
    number = halves[1].numbers[0]
    values = losses_of(analyzer, number)
    whole = {"standard": values["standard"], "language": values["language"], "visual_held": values["visual"]}
    whole["visual"] = values["visual"] + values["shift"]
    for loss, tokens_losses in whole.items():
        gradients = torch.autograd.grad(tokens_losses[1], list(along), retain_graph=True, allow_unused=True)
        pairs = zip(gradients, along.values(), strict=True)
        expected = sum(float((g * v).sum()) for g, v in pairs if g is not None)
        row = rows[(rows["rollout_id"] == number) & (rows["position"] == 1)].iloc[0]
        assert row[f"d_{loss}_nats"] == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_weights_are_put_back(analyzer):
    model = analyzer.pair.student.model
    before = [parameter.clone() for parameter in model.parameters()]
    direction = {parameter: torch.ones_like(parameter) for parameter in model.parameters()}
    with pytest.raises(KeyError), real_steps.moved(model):
        real_steps.step_with(torch.optim.SGD(list(direction), lr=0.5), direction)
        assert not torch.equal(before[0], next(model.parameters()))
        raise KeyError
    assert all(torch.equal(*two) for two in zip(before, model.parameters(), strict=True))


def test_a_batch_that_does_not_fit_is_halved_and_nothing_changes(analyzer, halves, capsys):
    """Of a batch that fails nothing has been added."""
    expected = first_order.descent(analyzer, halves[0], {"visual": 1.0, "language": 0.5})
    changed = dict(first_order.changes(analyzer, halves[1].numbers, expected))
    small = analyzer.having(batches=Batches(4, "batch"))
    hook = with_memory_for(analyzer.pair.student, 1)
    try:
        found = first_order.descent(small, halves[0], {"visual": 1.0, "language": 0.5})
        again = dict(first_order.changes(small.having(batches=Batches(4, "batch")), halves[1].numbers, expected))
    finally:
        hook.remove()
    assert capsys.readouterr().err.count("going on with 1") == 2 and small.batches.size == 1
    for parameter, vector in expected.items():
        torch.testing.assert_close(found[parameter], vector, rtol=1e-8, atol=1e-12)
    for number, one in changed.items():
        torch.testing.assert_close(again[number].visual, one.visual, rtol=1e-8, atol=1e-10)
