"""Units: how they are drawn, and that those of several tokens add up to the gradient of the loss."""

import pandas as pd
import pytest
import torch
from probes.units import _Scene, choose_units, grams_by_rollout, sum_of_corpus_bins

from geometry import DenseGradients, FourViews, Gramian, decompose, unit_gradients
from probes import corpus as corpora
from probes.corpus import Asked, Corpus
from tests import models
from vlm.rollouts import Sampling, generate
from vlm.scoring import view_logits
from vlm.views import text_views


@pytest.fixture(scope="module")
def corpus(checkpoints):
    pair, prompts = models.load(checkpoints, "float64"), models.scenes(4)
    views = dict(zip((p.prompt_id for p in prompts), text_views(prompts, "drop"), strict=True))
    asked = Asked({prompt.prompt_id: prompt for prompt in prompts}, views, {})
    return Corpus(pair, asked, generate(pair.student, prompts, Sampling(max_response=5)), batch=4)


@pytest.fixture(scope="module")
def tokens(corpus):
    scored = zip(corpus.rollouts, corpus.score(corpus.rollouts), strict=True)
    frames = [corpora._tokens(corpus, number, rollout, views) for number, (rollout, views) in enumerate(scored)]
    return corpora._binned(pd.concat(frames, ignore_index=True), 3)


def loss_gradients(corpus, rollouts):
    """Plain autograd of the mean over trajectories of the mean over tokens; visual with q* held fixed."""
    pair, losses = corpus.pair, []
    parameters = [parameter for members in pair.student.groups.values() for parameter in members]
    for rollout, views in zip(rollouts, corpus.score(rollouts), strict=True):
        image, text = (
            view_logits(pair.student, [view], [rollout.token_ids], pair.n_ids)[0] for view in corpus.views(rollout)
        )
        teacher = (views.teacher_image, views.teacher_text)
        free, fixed = decompose(FourViews(image, text, *teacher)), decompose(FourViews(image, text.detach(), *teacher))
        losses.append(torch.stack([free.standard.mean(), free.language.mean(), fixed.visual.mean()]))
    return [
        models.flat(parameters, torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True))
        for loss in torch.stack(losses).mean(dim=0)
    ]


def expected_gram(corpus, rollouts):
    gradients = torch.stack(loss_gradients(corpus, rollouts))
    return gradients @ gradients.T


def test_tokens_are_drawn_from_every_bin_and_only_once(tokens):
    units = choose_units(tokens, "token", 2, seed=0)
    assert [unit.bin for unit in units].count(0) == 2 and len(units) == 6
    assert len({(unit.rollout_id, unit.position) for unit in units}) == 6
    assert [unit.unit_id for unit in units] == list(range(6))
    assert all(unit.n_tokens == 1 and unit.weights[unit.rollout_id][unit.position] == 1 for unit in units)
    assert len(choose_units(tokens, "token", "all", seed=0)) == (tokens["bin"] >= 0).sum()
    places = [[(u.rollout_id, u.position) for u in choose_units(tokens, "token", 2, seed)] for seed in (0, 0, 1)]
    assert places[0] == places[1] != places[2]


def test_the_weights_of_many_tokens_add_up_to_one(tokens):
    trajectories = choose_units(tokens, "trajectory-bin", "all", seed=0)
    by_rollout = {unit.rollout_id: 0.0 for unit in trajectories}
    for unit in trajectories:
        by_rollout[unit.rollout_id] += float(unit.weights[unit.rollout_id].sum())
    assert list(by_rollout.values()) == pytest.approx([1.0] * 4)
    bins = choose_units(tokens, "corpus-bin", "all", seed=0)
    assert [unit.bin for unit in bins] == [0, 1, 2]
    assert sum(float(row.sum()) for unit in bins for row in unit.weights.values()) == pytest.approx(1.0)
    assert sum(unit.n_tokens for unit in bins) == len(tokens)


def test_prompts_without_a_picture_have_no_part_in_the_loss(tokens):
    bare = tokens.assign(bin=tokens["bin"].where(tokens["rollout_id"] != 0, -1))
    bins = choose_units(bare, "corpus-bin", "all", seed=0)
    assert all(0 not in unit.weights for unit in bins)
    assert sum(float(row.sum()) for unit in bins for row in unit.weights.values()) == pytest.approx(1.0)


def added(corpus, units):
    """The Gram matrix of the sum of the units' gradients."""
    sums = DenseGradients(corpus.pair.student.groups)
    for unit in units:
        for number, weights in unit.weights.items():
            scene = _Scene.of(corpus, corpus.rollouts[number])
            groups = corpus.pair.student.groups
            sums.add(unit_gradients(scene.image, scene.text, scene.cotangents, weights.double().unsqueeze(0), groups))
    return sum(sums.grams().values())[0, :3, :3]


def test_trajectory_bins_add_up_to_the_trajectorys_gradient(corpus, tokens):
    units = [unit for unit in choose_units(tokens, "trajectory-bin", "all", seed=0) if unit.rollout_id == 1]
    assert len(units) > 1
    torch.testing.assert_close(added(corpus, units), expected_gram(corpus, corpus.rollouts[1:2]), rtol=1e-5, atol=0)


def test_corpus_bins_add_up_to_the_losss_gradient(corpus, tokens):
    units = choose_units(tokens, "corpus-bin", "all", seed=0)
    torch.testing.assert_close(added(corpus, units), expected_gram(corpus, corpus.rollouts), rtol=1e-5, atol=0)


def test_one_bin_of_all_is_the_loss(corpus, tokens):
    [whole] = choose_units(tokens.assign(bin=0), "corpus-bin", "all", seed=0)
    gram = sum(sum_of_corpus_bins(corpus, [whole], corpus.pair.student.groups).grams().values())[0, :3, :3]
    torch.testing.assert_close(gram, expected_gram(corpus, corpus.rollouts), rtol=1e-5, atol=0)


def test_a_trajectory_of_one_bin_is_its_loss(corpus, tokens):
    units = choose_units(tokens.assign(bin=0), "trajectory-bin", "all", seed=0)
    engine = Gramian(corpus.pair.student.model, corpus.pair.student.groups)
    for members, grams in grams_by_rollout(corpus, engine, units):
        [unit] = members
        rollouts = [corpus.rollouts[unit.rollout_id]]
        torch.testing.assert_close(sum(grams.values())[0, :3, :3], expected_gram(corpus, rollouts), rtol=1e-5, atol=0)


def test_signed_bins_have_the_tokens_gram_as_their_mean(corpus, tokens):
    """Over all signs the mean is exact: it is the sum of the tokens' own matrices."""
    unit = max(choose_units(tokens, "signed-bin", "all", seed=0), key=lambda unit: unit.n_tokens)
    assert unit.n_tokens >= 2
    ((number, weights),) = unit.weights.items()
    assert set(weights.tolist()) <= {-1.0, 0.0, 1.0} and unit.kind == "signed-bin"
    places = weights.nonzero().squeeze(1)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * len(places)).reshape(-1, len(places))
    rows = torch.zeros(len(signs), len(weights))
    rows[:, places] = signs
    singles = torch.eye(len(weights))[places]
    engine = Gramian(corpus.pair.student.model, corpus.pair.student.groups)
    scene = _Scene.of(corpus, corpus.rollouts[number])
    averaged, own = (sum(engine.units(scene.image, scene.text, scene.cotangents, w).values()) for w in (rows, singles))
    torch.testing.assert_close(averaged.mean(0), own.sum(0), rtol=1e-6, atol=0)


def test_signs_are_drawn_by_the_seed(tokens):
    signs = [[list(u.weights.values())[0] for u in choose_units(tokens, "signed-bin", "all", s)] for s in (0, 0, 1)]
    assert all(torch.equal(a, b) for a, b in zip(signs[0], signs[1], strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(signs[0], signs[2], strict=True))


def test_corpus_bins_together_are_corpus_bins_alone(corpus, tokens):
    units, groups = choose_units(tokens, "corpus-bin", "all", seed=0), corpus.pair.student.groups
    together = sum(sum_of_corpus_bins(corpus, units, groups).grams().values())
    for place, unit in enumerate(units):
        alone = sum(sum_of_corpus_bins(corpus, [unit], groups).grams().values())
        torch.testing.assert_close(together[place], alone[0], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("kind", ["trajectory-bin", "signed-bin", "corpus-bin"])
def test_normalised_tokens_count_alike(corpus, tokens, kind):
    """The weights of a normalised unit are those of the plain one over the length of the standard cotangent."""
    plain, normalised = (choose_units(tokens, kind, "all", seed=0, normalised=flag) for flag in (False, True))
    number = next(iter(plain[0].weights))
    scene = _Scene.of(corpus, corpus.rollouts[number])
    weights, scaled = (units[0].weights_of(number, scene.cotangents) for units in (plain, normalised))
    moved = scaled.unsqueeze(-1) * scene.cotangents.standard
    torch.testing.assert_close(moved.norm(dim=-1), weights.double().abs())
    assert (weights == plain[0].weights[number]).all()
