"""Features of pictures that several passes share: the tower runs once for each picture, and the logits are the same."""

from dataclasses import replace

import pytest
import torch

from tests import models
from tests.vlm import test_families as families
from tests.vlm.responses.test_hidden import other_inputs
from vlm.responses import picture_features
from vlm.responses.picture_features import PictureFeatures
from vlm.responses.rollouts import Sampling, generate
from vlm.responses.scoring import view_hidden
from vlm.views.view import image_view


@pytest.fixture
def loaded(checkpoints):
    """A model that no test has asked before."""
    return models.load(checkpoints).teacher


@pytest.fixture
def several(loaded):
    """Three responses to each of three prompts, of which one has no picture."""
    prompts = [p for p in models.scenes(7) if p.has_image][:2] + [p for p in models.scenes(7) if not p.has_image][:1]
    rollouts = generate(loaded, prompts, Sampling(max_response=6, per_prompt=3))
    by_id = {p.prompt_id: image_view(p) for p in prompts}
    picture_features._TAKES.pop(loaded.model, None)
    return [by_id[r.prompt_id] for r in rollouts], [r.token_ids for r in rollouts]


@pytest.fixture
def patches(loaded):
    """Patches of pictures that the tower was given, in each of its passes."""
    counts = []
    hook = loaded.model.base_model.visual.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0])))
    yield counts
    hook.remove()


def apart(found, expected):
    largest = max(float(e.abs().max()) for e in expected)
    return max(float((f - e).abs().max()) for f, e in zip(found, expected, strict=True)) / largest


@torch.no_grad()
def test_the_tower_runs_once_for_each_picture_and_the_hidden_states_are_the_same(loaded, several, patches):
    views, responses = several
    expected = view_hidden(loaded, views, responses)
    (whole,) = patches
    features = PictureFeatures(loaded)
    view_hidden(loaded, views[:1], responses[:1], features)  # the first pass makes it both ways
    patches.clear()
    found = view_hidden(loaded, views, responses, features)
    assert patches == [whole // 6]  # of six rows with two pictures, that of the first row is kept
    assert apart(found, expected) < 1e-5
    patches.clear()
    again = [
        view_hidden(loaded, [view], [response], features)[0] for view, response in zip(views, responses, strict=True)
    ]
    assert patches == [whole // 6]  # each pass keeps its own: that of the second prompt comes back once
    assert apart(again, expected) < 1e-5


def test_a_tower_with_a_gradient_runs_in_each_pass_and_a_frozen_one_does_not(loaded, several, patches):
    views, responses = several
    loaded.model.requires_grad_(True)
    loaded = replace(loaded)  # whose groups list these parameters
    parameters = list(loaded.model.parameters())

    def gradients(features):
        hidden = torch.cat(view_hidden(loaded, views, responses, features))
        trained = [p for p in parameters if p.requires_grad]
        return torch.autograd.grad(hidden.square().sum(), trained, allow_unused=True)

    trained = gradients(PictureFeatures(loaded))
    (whole,) = patches
    assert trained[0] is not None and trained[0].any()  # of the tower
    for name, parameter in loaded.model.named_parameters():
        parameter.requires_grad_("visual" not in name)
    expected = gradients(None)
    with torch.no_grad():
        view_hidden(loaded, views, responses, PictureFeatures(loaded))
    patches.clear()
    found = gradients(PictureFeatures(loaded))
    assert patches == [whole // 3]
    for own, other in zip(found, expected, strict=True):
        assert (own is None) == (other is None)
        if own is not None:
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


@torch.no_grad()
def test_a_model_whose_logits_would_change_keeps_to_its_pixels(loaded, several, monkeypatch):
    views, responses = several
    expected = view_hidden(loaded, views, responses)
    real = picture_features._joined

    def spoilt(parts):
        output = real(parts)
        output.pooler_output = [part + 0.1 for part in output.pooler_output]
        return output

    monkeypatch.setattr(picture_features, "_joined", spoilt)
    found = view_hidden(loaded, views, responses, PictureFeatures(loaded))
    assert all(torch.equal(own, other) for own, other in zip(found, expected, strict=True))
    assert not picture_features.takes_features(loaded)


@torch.no_grad()
def test_a_family_that_cannot_be_handed_features_keeps_to_its_pixels(loaded, several, monkeypatch):
    views, responses = several
    expected = view_hidden(loaded, views, responses)
    kind = type(loaded.model)
    real = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, **kwargs: real(self, **kwargs))
    assert not picture_features.takes_features(loaded)
    found = view_hidden(loaded, views, responses, PictureFeatures(loaded))
    assert all(torch.equal(own, other) for own, other in zip(found, expected, strict=True))


def test_responses_to_one_prompt_are_sampled_from_shared_features(loaded, patches):
    prompts = [p for p in models.scenes(4) if p.has_image]
    alone = [generate(loaded, prompts, Sampling(max_response=4, seed=3))]
    assert alone and len(patches) == 1
    (each,) = patches
    shared = generate(loaded, prompts, Sampling(max_response=4, seed=3, per_prompt=2))
    patches.clear()
    again = generate(loaded, prompts, Sampling(max_response=4, seed=3, per_prompt=2))
    assert patches == [each]
    assert [r.token_ids for r in again] == [r.token_ids for r in shared]
    assert [r.token_ids for r in shared if r.index == 0] == [r.token_ids for r in alone[0]]


@pytest.mark.parametrize("build", [families.llava_member, families.idefics3_member])
@torch.no_grad()
def test_other_families_give_the_same_hidden_states(build):
    loaded, views, responses = other_inputs(build)
    views, responses = [views[0], views[0], views[2]], [[5, 6, 1], [7, 1], [5, 6, 1]]
    expected = view_hidden(loaded, views, responses)
    features = PictureFeatures(loaded)
    for _ in range(2):
        assert apart(view_hidden(loaded, views, responses, features), expected) < 1e-5
