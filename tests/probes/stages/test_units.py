"""Units: how they are drawn, and that those of several tokens add up to the gradient of the loss."""

from functools import partial

import numpy as np
import pytest
import torch

from geometry import DenseGradients, FourViews, Gramian, cotangents, decompose, total, unit_gradients
from probes import Analyzer, stages
from probes.settings import UnitOptions
from probes.stages import gradients
from probes.stages.tables import gram_of_rows
from records import Shards
from tests import models
from vlm.responses.scoring import view_logits

LOSSES = ("standard", "language", "visual")

equal = partial(torch.testing.assert_close, rtol=1e-5, atol=0)


@pytest.fixture(scope="module")
def analyzer(checkpoints):
    student, teacher = (str(checkpoints / name) for name in ("student", "teacher"))
    return Analyzer(student, teacher=teacher, limit=4, max_response=5, batch=4, bins=3, dtype="float64")


@pytest.fixture(scope="module")
def tokens(analyzer):
    return analyzer.tokens


def choose(tokens, kind, per_bin="all", seed=0, normalise=False):
    return stages.choose_units(tokens, UnitOptions(kind, per_bin, normalise), seed)


def response_of(analyzer, number, units):
    """The response of a rollout at the tokens of units."""
    positions = torch.cat([unit.positions(number) for unit in units]).unique()
    [response] = stages.probe_responses(analyzer, [(number, positions)])
    return response


def products(gram):
    """The products of the gradients of `LOSSES`, `[..., 3, 3]`."""
    rows = [[torch.from_numpy(gram.product(a, b)) for b in LOSSES] for a in LOSSES]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def loss_gradients(analyzer, rollouts):
    """Plain autograd of the mean over trajectories of the mean over tokens; visual with q* held fixed."""
    pair, losses = analyzer.pair, []
    parameters = [parameter for members in pair.student.groups.values() for parameter in members]
    for rollout, views in zip(rollouts, analyzer.score(rollouts), strict=True):
        image, text = (
            view_logits(pair.student, [view], [rollout.token_ids], pair.n_ids)[0] for view in analyzer.views(rollout)
        )
        teacher = (views.teacher_image, views.teacher_text)
        free, fixed = decompose(FourViews(image, text, *teacher)), decompose(FourViews(image, text.detach(), *teacher))
        losses.append(torch.stack([free.standard.mean(), free.language.mean(), fixed.visual.mean()]))
    return [
        models.flat(parameters, torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True))
        for loss in torch.stack(losses).mean(dim=0)
    ]


def expected_products(analyzer, rollouts):
    gradients = torch.stack(loss_gradients(analyzer, rollouts))
    return gradients @ gradients.T


def measured(analyzer, units):
    """The Gram matrix of each unit over the whole model, as a record holds it."""
    apart = analyzer.having(shards=Shards())
    tables = stages.measure_gradients(apart, apart.pair.student.groups, units, {"grams": stages.gram_rows})
    return gram_of_rows(tables["grams"].drop(columns="group").groupby("unit_id").sum())


def test_tokens_are_drawn_from_every_bin_and_only_once(tokens):
    units = choose(tokens, "token", 2)
    assert [unit.bin for unit in units].count(0) == 2 and len(units) == 6
    assert len({(unit.rollout_id, unit.position) for unit in units}) == 6
    assert [unit.unit_id for unit in units] == list(range(6))
    assert all(unit.n_tokens == 1 and unit.weights[unit.rollout_id][unit.position] == 1 for unit in units)
    assert len(choose(tokens, "token")) == (tokens["bin"] >= 0).sum()
    places = [[(u.rollout_id, u.position) for u in choose(tokens, "token", 2, seed)] for seed in (0, 0, 1)]
    assert places[0] == places[1] != places[2]


def test_the_weights_of_many_tokens_add_up_to_one(tokens):
    trajectories = choose(tokens, "trajectory-bin")
    by_rollout = {unit.rollout_id: 0.0 for unit in trajectories}
    for unit in trajectories:
        by_rollout[unit.rollout_id] += float(unit.weights[unit.rollout_id].sum())
    assert list(by_rollout.values()) == pytest.approx([1.0] * 4)
    bins = choose(tokens, "corpus-bin")
    assert [unit.bin for unit in bins] == [0, 1, 2]
    assert sum(float(row.sum()) for unit in bins for row in unit.weights.values()) == pytest.approx(1.0)
    assert sum(unit.n_tokens for unit in bins) == len(tokens)


def test_prompts_without_a_picture_have_no_part_in_the_loss(tokens):
    bare = tokens.assign(bin=tokens["bin"].where(tokens["rollout_id"] != 0, -1))
    bins = choose(bare, "corpus-bin")
    assert all(0 not in unit.weights for unit in bins)
    assert sum(float(row.sum()) for unit in bins for row in unit.weights.values()) == pytest.approx(1.0)


def added(analyzer, units):
    """The products of the sum of the units' gradients."""
    groups = analyzer.pair.student.groups
    sums = DenseGradients(groups)
    for unit in units:
        for number, weights in unit.weights.items():
            response = response_of(analyzer, number, [unit])
            sums.add(unit_gradients(response, weights[response.positions].double().unsqueeze(0), groups))
    return products(total(sums.grams()))[0]


def test_trajectory_bins_add_up_to_the_trajectorys_gradient(analyzer, tokens):
    units = [unit for unit in choose(tokens, "trajectory-bin") if unit.rollout_id == 1]
    assert len(units) > 1
    equal(added(analyzer, units), expected_products(analyzer, analyzer.rollouts[1:2]))


def test_corpus_bins_add_up_to_the_losss_gradient(analyzer, tokens):
    equal(added(analyzer, choose(tokens, "corpus-bin")), expected_products(analyzer, analyzer.rollouts))


def test_one_bin_of_all_is_the_loss(analyzer, tokens):
    whole = choose(tokens.assign(bin=0), "corpus-bin")
    assert len(whole) == 1
    equal(products(measured(analyzer, whole))[0], expected_products(analyzer, analyzer.rollouts))


def test_a_trajectory_of_one_bin_is_its_loss(analyzer, tokens):
    units = choose(tokens.assign(bin=0), "trajectory-bin")
    engine = Gramian(analyzer.pair.student.model, analyzer.pair.student.groups)
    by_rollout = list(stages.unit_grams(analyzer, engine, units))
    assert len(by_rollout) == len(analyzer.rollouts)
    for [unit], grams in by_rollout:
        equal(products(total(grams))[0], expected_products(analyzer, [analyzer.rollouts[unit.rollout_id]]))


def test_signed_bins_have_the_tokens_gram_as_their_mean(analyzer, tokens):
    """Over all signs the mean is the sum of the tokens' own matrices; the variance is of products between tokens."""
    unit = max(choose(tokens, "signed-bin"), key=lambda unit: unit.n_tokens)
    assert unit.n_tokens >= 2
    ((number, weights),) = unit.weights.items()
    assert set(weights.tolist()) <= {-1.0, 0.0, 1.0} and unit.kind == "signed-bin"
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * unit.n_tokens).reshape(-1, unit.n_tokens)
    engine = Gramian(analyzer.pair.student.model, analyzer.pair.student.groups)
    response = response_of(analyzer, number, [unit])
    assert torch.equal(response.positions, weights.nonzero().squeeze(1))
    averaged, own = (total(engine.units(response, rows)).values for rows in (signs, torch.eye(unit.n_tokens)))
    np.testing.assert_allclose(averaged.mean(0), own.sum(0), rtol=1e-6)
    dense = DenseGradients(analyzer.pair.student.groups)
    dense.add(unit_gradients(response, torch.eye(unit.n_tokens, dtype=torch.float64), analyzer.pair.student.groups))
    products = sum(dense.cross_grams().values())
    both = (products + products.transpose(0, 2)).permute(0, 2, 1, 3)  # [t, u, k, l]: of t with u and of u with t
    variance = both[tuple(torch.triu_indices(unit.n_tokens, unit.n_tokens, 1))].square().sum(0).numpy()
    np.testing.assert_allclose(averaged.var(0), variance, rtol=1e-6, atol=1e-20)


def test_signs_are_drawn_by_the_seed(tokens):
    signs = [[list(unit.weights.values())[0] for unit in choose(tokens, "signed-bin", seed=s)] for s in (0, 0, 1)]
    assert all(torch.equal(a, b) for a, b in zip(signs[0], signs[1], strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(signs[0], signs[2], strict=True))


def test_corpus_bins_together_are_corpus_bins_alone(analyzer, tokens, monkeypatch):
    """Also where memory holds the gradients of one bin only."""
    units = choose(tokens, "corpus-bin")
    together = measured(analyzer, units).values
    for place, unit in enumerate(units):
        np.testing.assert_allclose(measured(analyzer, [unit]).values[0], together[place], rtol=1e-9, atol=1e-15)
    monkeypatch.setattr(gradients, "HELD_BYTES", 1)
    np.testing.assert_allclose(measured(analyzer, units).values, together, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("kind", ["trajectory-bin", "signed-bin", "corpus-bin"])
def test_normalised_tokens_count_alike(analyzer, tokens, kind):
    """The weights of a normalised unit are those of the plain one over the length of the standard cotangent."""
    plain, normalised = (choose(tokens, kind, normalise=flag)[0] for flag in (False, True))
    number = next(iter(plain.weights))
    [views] = analyzer.score([analyzer.rollouts[number]])
    at_tokens = cotangents(views)
    everywhere = torch.arange(len(at_tokens.standard))
    weights, scaled = (unit.weights_at(number, everywhere, at_tokens) for unit in (plain, normalised))
    moved = scaled.unsqueeze(-1) * at_tokens.standard
    torch.testing.assert_close(moved.norm(dim=-1), weights.double().abs())
    assert (weights == plain.weights[number]).all()
    assert not plain.weights_at(-1, everywhere, at_tokens).any()


def test_logits_are_made_at_the_tokens_of_units_alone(analyzer, tokens):
    """What a response is probed with is what scoring all of its tokens gives."""
    drawn = choose(tokens, "token", 2)
    number = drawn[0].rollout_id
    units = [unit for unit in drawn if unit.rollout_id == number]
    response = response_of(analyzer, number, units)
    assert response.positions.tolist() == sorted(unit.position for unit in units)
    [views] = analyzer.score([analyzer.rollouts[number]])
    expected = cotangents(views).at(response.positions)
    torch.testing.assert_close(response.cotangents.standard, expected.standard, rtol=1e-9, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(response.image_logits(response.positions), views.student_image[response.positions])
        torch.testing.assert_close(response.text_logits(response.positions), views.student_text[response.positions])
