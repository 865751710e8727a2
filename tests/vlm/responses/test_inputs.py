"""Models that take or return more than was asked: their logits are cut, their inputs go on over a response."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn
from transformers import LogitsProcessorList

from geometry import LMHead
from tests import models
from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel
from vlm.responses.output_layer import head_of
from vlm.responses.rollouts import Sampling, generate
from vlm.responses.scoring import ResponseView, view_hidden, view_logits
from vlm.views.view import View, ViewError, _tail, image_view, per_token, placed, text_view, together

RESPONSES = [(11, 12, 13, 1), (20, 21), (14, 15, 16, 17, 1)]


class Returns(nn.Module):
    """A model whose forward changes its arguments or its logits."""

    def __init__(self, model, arguments, logits=lambda x: x):
        super().__init__()
        self.model, self.arguments, self.change, self.config = model, arguments, logits, model.config

    def get_output_embeddings(self):
        return self.model.get_output_embeddings()

    def forward(self, **inputs):
        result = self.model(**self.arguments(inputs))
        result.logits = self.change(result.logits)
        return result


def without_columns(inputs):
    """As a forward does that swallows what it does not know."""
    return {name: value for name, value in inputs.items() if name != "logits_to_keep"}


def wrapped(loaded, *changes):
    return LoadedModel(loaded.name, Returns(loaded.model, *changes), loaded.processor, "")


@pytest.fixture(scope="module")
def views():
    prompts = models.scenes(10)
    return [image_view(prompts[0]), text_view(prompts[0]), image_view(prompts[5])]


def test_a_model_that_keeps_all_columns_gives_the_same_numbers(pair, views):
    student, n_ids = pair.student, pair.n_ids
    every = wrapped(student, without_columns)
    positions = [torch.tensor([0, 3]), torch.tensor([1]), torch.tensor([1, 2, 4])]
    for at in (None, positions):
        found = view_logits(every, views, RESPONSES, n_ids, at)
        for rows, expected in zip(found, view_logits(student, views, RESPONSES, n_ids, at), strict=True):
            torch.testing.assert_close(rows, expected)
    for hidden, expected in zip(
        view_hidden(every, views, RESPONSES), view_hidden(student, views, RESPONSES), strict=True
    ):
        torch.testing.assert_close(hidden, expected)
    head = head_of(every, n_ids)
    assert isinstance(head, LMHead) and head.weight is student.model.get_output_embeddings().weight
    for at in (torch.tensor([0]), torch.tensor([1, 3])):
        ours, theirs = (ResponseView(loaded, views[0], RESPONSES[0], n_ids)(at) for loaded in (every, student))
        torch.testing.assert_close(ours, theirs)


def test_rows_of_logits_that_are_neither_are_refused(pair, views):
    longer = wrapped(pair.student, without_columns, lambda logits: torch.cat([logits, logits[:, :2]], dim=1))
    with pytest.raises(CheckpointError, match=r"must make a row of logits for each token, got \d+ for \d+; .*choose"):
        view_logits(longer, views, RESPONSES, pair.n_ids)


def test_pixels_are_in_the_precision_of_the_model_and_whole_numbers_stay():
    inputs = {"pixel_values": torch.ones(2, 3, dtype=torch.bfloat16), "input_ids": torch.tensor([[1, 2]])}
    for dtype in (torch.float64, torch.bfloat16):
        found = placed(inputs, "cpu", dtype)
        assert (found["pixel_values"].dtype, found["input_ids"].dtype) == (dtype, torch.int64)


def test_what_text_sees_across_it_still_sees_in_its_response():
    mask = torch.tensor([[[0, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 1], [0, 1]]])  # [L, pictures, tiles]
    assert torch.equal(_tail("cross_attention_mask", mask, (5, 6)), mask[2].expand(2, 2, 2))
    ids = torch.tensor([7, 8, 9])
    assert _tail("input_ids", ids, (5, 6)).tolist() == [5, 6]
    assert _tail("attention_mask", ids, (5, 6)).tolist() == [1, 1]
    assert _tail("mm_token_type_ids", ids, (5, 6)).tolist() == [0, 0]
    with pytest.raises(ViewError, match="`position_ids`, and how it goes on over a response is not known"):
        _tail("position_ids", ids, (5, 6))


def test_pixels_are_never_taken_for_tokens():
    shape = torch.Size([2, 3])
    assert per_token(torch.zeros(2, 3, dtype=torch.int64), shape)
    assert per_token(torch.zeros(2, 3, 4, 5, dtype=torch.int64), shape)
    assert not per_token(torch.zeros(2, 3, 4, 5), shape)
    assert not per_token(torch.zeros(3, 2, dtype=torch.int64), shape)


def test_prompts_are_run_by_their_number_of_pictures_where_they_cannot_be_mixed():
    picture = Image.new("RGB", (4, 4))
    views = [View((), (picture,) * n) for n in (1, 0, 2, 1, 0)]
    assert together(views, True) == [[0, 1, 2, 3, 4]]
    assert together(views, False) == [[1, 4], [0, 3], [2]]
    assert together([], True) == together([], False) == []


def test_apart_or_together_the_numbers_are_the_same(checkpoints, views):
    loaded = models.load(checkpoints).student
    expected = view_logits(loaded, views, RESPONSES, 40)
    prompts = models.scenes(10)
    drawn = generate(loaded, prompts, Sampling(max_response=4, batch=10))
    vars(loaded)["_picture_tokens"] = SimpleNamespace(mixes_views=False, ids=loaded.visual_ids)
    for ours, theirs in zip(view_logits(loaded, views, RESPONSES, 40), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert generate(loaded, prompts, Sampling(max_response=4, batch=10)) == drawn


def test_a_generate_that_drops_the_sampler_is_not_used(checkpoints, monkeypatch):
    loaded, prompts = models.load(checkpoints).student, models.scenes(3)
    expected = generate(loaded, prompts, Sampling(max_response=4))
    kind = type(loaded.model)

    def own(self, *args, logits_processor=None, **kwargs):
        return super(kind, self).generate(*args, **kwargs)

    monkeypatch.setattr(kind, "generate", own, raising=False)
    assert generate(loaded, prompts, Sampling(max_response=4)) == expected


def test_tokens_that_no_sampler_chose_are_refused(checkpoints, monkeypatch):
    loaded, prompts = models.load(checkpoints).student, models.scenes(2)
    monkeypatch.setattr(
        type(loaded.model), "_get_logits_processor", lambda *args, **kwargs: LogitsProcessorList(), raising=False
    )
    with pytest.raises(CheckpointError, match=r"must take every token from the sampler, got 4 tokens and 0 of"):
        generate(loaded, prompts, Sampling(max_response=4))
