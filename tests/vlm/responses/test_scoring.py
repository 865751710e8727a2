"""The four views against one plain forward pass a row, by itself and without padding."""

import pytest
import torch

from geometry import FourViews, decompose
from tests import models
from vlm.responses.rollouts import Sampling, generate
from vlm.responses.scoring import score, view_logits
from vlm.views.view import encode_prompts, image_view, text_view, view_pairs


@pytest.fixture(scope="module")
def sampled(pair):
    prompts = models.scenes(7)
    return prompts, generate(pair.student, prompts, Sampling(max_response=7))


def scores(pair, sampled, mode="drop", batch=3):
    prompts, rollouts = sampled
    return list(score(pair, view_pairs(prompts, mode), rollouts, batch=batch))


def plain_logits(loaded, view, response):
    """Logits of a row of its own: prompt and response as they are, the whole head, then the response's rows."""
    inputs = encode_prompts([view], loaded.processor)
    start, length = inputs["input_ids"].shape[1], len(response)
    tail = torch.tensor([response])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], tail], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(tail)], dim=1)
    with torch.no_grad():
        return loaded.model(**inputs).logits[0, start - 1 : start - 1 + length]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("float64", 1e-10)])
def test_equal_to_a_plain_forward_pass(checkpoints, sampled, dtype, tolerance):
    pair = models.load(checkpoints, dtype)
    allowed = [index for index in range(pair.n_ids) if index not in pair.student.visual_ids]
    for prompt, rollout, views in zip(*sampled, scores(pair, sampled), strict=True):
        for loaded, image, text in (
            (pair.student, views.student_image, views.student_text),
            (pair.teacher, views.teacher_image, views.teacher_text),
        ):
            for view, found in ((image_view(prompt), image), (text_view(prompt), text)):
                expected = plain_logits(loaded, view, rollout.token_ids)
                assert found.shape == (len(rollout.token_ids), pair.n_ids)
                torch.testing.assert_close(
                    found[:, allowed], expected[:, allowed], rtol=tolerance, atol=tolerance, check_dtype=True
                )


def test_independent_of_the_batch(pair, sampled):
    for few, many in zip(scores(pair, sampled, batch=1), scores(pair, sampled, batch=7), strict=True):
        for name in ("student_image", "student_text", "teacher_image", "teacher_text"):
            torch.testing.assert_close(getattr(few, name), getattr(many, name), rtol=1e-5, atol=1e-5)


def test_the_same_call_gives_the_same_bits(pair, sampled):
    for first, second in zip(scores(pair, sampled), scores(pair, sampled), strict=True):
        assert torch.equal(first.student_text, second.student_text)
        assert torch.equal(first.teacher_image, second.teacher_image)


@pytest.mark.parametrize("mode", ["drop", "blank", "other"])
def test_without_a_picture_the_text_view_is_the_image_view(pair, sampled, mode):
    for prompt, views in zip(sampled[0], scores(pair, sampled, mode), strict=True):
        same = views.student_text is views.student_image
        assert same is (views.teacher_text is views.teacher_image) is (not prompt.has_image)
        if prompt.has_image:
            assert not torch.allclose(views.student_text, views.student_image, atol=1e-3)


def test_what_sampling_never_draws_is_masked_in_all_views_and_takes_no_gradient(pair, sampled):
    visual = list(pair.student.visual_ids)
    prompts, rollouts = sampled
    for views in scores(pair, sampled):
        for logits in views.each:
            assert logits.isneginf().nonzero()[:, 1].unique().tolist() == visual
        parts = decompose(views)
        assert all(values.isfinite().all() for values in vars(parts).values())
    args = ([image_view(prompts[0])], [rollouts[0].token_ids], pair.n_ids)
    [student], [teacher] = view_logits(pair.student, *args), view_logits(pair.teacher, *args)
    loss = decompose(FourViews(student, student, teacher.detach(), teacher.detach())).standard.sum()
    gradients = torch.autograd.grad(loss, pair.student.groups["layer_00"])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients)


def test_progress_counts_rollouts(pair, sampled):
    seen = []
    prompts, rollouts = sampled
    views = [(image_view(prompt), image_view(prompt)) for prompt in prompts]
    list(score(pair, views, rollouts, batch=3, progress=seen.append))
    assert seen == [3, 6, 7]


@pytest.mark.parametrize("mode", ["drop", "blank"])
def test_some_positions_are_rows_of_the_whole(pair, sampled, mode):
    prompts, rollouts = sampled
    views = view_pairs(prompts, mode)
    positions = [torch.arange(0, len(rollout.token_ids), 2) for rollout in rollouts]
    some = score(pair, views, rollouts, batch=3, positions=positions)
    for whole, at, found in zip(score(pair, views, rollouts, batch=3), positions, some, strict=True):
        for one, other in zip(whole.each, found.each, strict=True):
            torch.testing.assert_close(one[at], other, rtol=1e-5, atol=1e-5)
