"""Practice, noise in weights and left-out layers: what a student of the suite is made by."""

from dataclasses import replace

import pytest
import torch

from bundled.prompts import group_prompts
from cli.errors import OptionError
from study.suite.examples import Examples
from study.suite.layers import keep_layers
from study.suite.practice import Practice, practise
from study.suite.weight_noise import add_noise, of_side
from vlm.checkpoints.checkpoint import load_model
from vlm.responses.scoring import view_logits
from vlm.views.view import image_view, text_view

PRACTICE = Practice(Examples(withheld=0.5), steps=2, rate=1e-3, batch=4)


@pytest.fixture
def student(checkpoints):
    """Load the random student, a new one each time."""
    return lambda: load_model(str(checkpoints / "student"))


def flat(loaded):
    return torch.cat([parameter.detach().ravel() for parameter in loaded.model.parameters()])


def logits(loaded, view):
    [prompt] = group_prompts("high", 1, seed=0)
    with torch.no_grad():
        return torch.cat(view_logits(loaded, [view(prompt)], [(9, 10, 11)], loaded.n_ids))


def practised(student, seed="a", practice=PRACTICE):
    loaded = student()
    return loaded, practise(loaded, practice, seed)


def test_practice_is_a_function_of_the_seed(student):
    (one, losses), (same, _), (other, _) = (practised(student, seed) for seed in "aab")
    assert torch.equal(flat(one), flat(same)) and not torch.equal(flat(one), flat(other))
    assert len(losses) == PRACTICE.steps


def test_practice_lowers_the_loss(student):
    _, losses = practised(student, practice=replace(PRACTICE, steps=12, rate=1e-2))
    assert losses[-1] < 0.8 * losses[0]


def test_what_is_frozen_stays(student):
    loaded = student()
    before = [parameter.clone() for parameter in of_side(loaded.model, "vision")]
    tower = of_side(loaded.model, "vision")
    for parameter in tower:
        parameter.requires_grad_(False)
    practise(loaded, PRACTICE, "a")
    assert all(map(torch.equal, tower, before)) and not torch.equal(flat(loaded), flat(student()))


def test_the_rate_rises_and_falls():
    rates = [Practice(Examples(), steps=40, rate=1.0).rate_at(step) for step in range(40)]
    assert rates[0] < rates[2] < rates[3] and max(rates) <= 1.0 and rates[39] < 0.1
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_the_sides_are_all_of_a_model_and_share_nothing(student):
    model = student().model
    vision, language = ({id(p) for p in of_side(model, side)} for side in ("vision", "language"))
    assert not vision & language and vision | language == {id(p) for p in model.parameters()}


@pytest.mark.parametrize(("side", "text_changes"), [("vision", False), ("language", True)])
def test_noise_in_the_tower_leaves_the_text_view_bit_for_bit(student, side, text_changes):
    loaded, first = student(), student()
    add_noise(loaded.model, side, 0.5, seed=1)
    assert not torch.equal(logits(loaded, image_view), logits(first, image_view))
    assert torch.equal(logits(loaded, text_view), logits(first, text_view)) != text_changes


def test_noise_is_in_units_of_the_spread_of_a_matrix_and_grows_along_one_direction(student):
    first, half, whole = (student() for _ in range(3))
    for loaded, level in ((half, 0.2), (whole, 0.4)):
        add_noise(loaded.model, "vision", level, seed=1)
    sides = [of_side(loaded.model, "vision") for loaded in (first, half, whole)]
    for own, near, far in zip(*sides, strict=True):
        if own.ndim > 1:
            torch.testing.assert_close(far - own, 2 * (near - own), atol=1e-6, rtol=1e-4)
            spread = ((far - own).std() / own.std()).item()
            assert spread == pytest.approx(0.4, abs=0.4 * 3 / own.numel() ** 0.5)
        else:
            assert torch.equal(own, far)


def test_a_model_without_a_layer_is_a_checkpoint(student, tmp_path):
    loaded = student()
    whole = logits(loaded, image_view)
    keep_layers(loaded, [1])
    shorter = logits(loaded, image_view)
    assert not torch.equal(shorter, whole)
    loaded.model.save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    assert torch.equal(logits(load_model(str(tmp_path)), image_view), shorter)


@pytest.mark.parametrize("kept", [[], [0, 2], [1, 0], [0, 0]])
def test_layers_that_are_not_there_are_refused(student, kept):
    with pytest.raises(OptionError, match="`layers` must ascend within 0 to 1"):
        keep_layers(student(), kept)
