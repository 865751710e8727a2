"""Scores of all tokens from hidden states: equal to those of whole logits, a chunk at a time, whatever fits."""

import gc
from collections.abc import Iterator

import pytest
import torch

from geometry import TokenScores, lm_head
from geometry import token_scores as scores_of
from tests import models
from vlm.checkpoints.checkpoint import CheckpointError, load_model
from vlm.checkpoints.pair import pair_of
from vlm.responses.finite import NotFiniteError
from vlm.responses.halving import Batches, TooLargeError
from vlm.responses.rollouts import Sampling, generate
from vlm.responses.scoring import LEAST_ROWS, score, view_hidden, view_logits
from vlm.responses.token_scores import read_by_chunk, token_scores
from vlm.views.view import view_pairs


@pytest.fixture(scope="module")
def sampled(pair):
    prompts = models.scenes(7)
    return view_pairs(prompts, "drop"), generate(pair.student, prompts, Sampling(max_response=7))


def assert_same(some, others, **tolerance):
    for one, other in zip(some, others, strict=True):
        for name, values in (vars(one.parts) | {"entropy": one.entropy}).items():
            expected = (vars(other.parts) | {"entropy": other.entropy})[name]
            torch.testing.assert_close(values, expected, msg=name, **tolerance)


def whole(pair, sampled) -> Iterator[TokenScores]:
    return (scores_of(views) for views in score(pair, *sampled, batch=1))


@pytest.mark.parametrize("batch", [1, 3, 7])
@pytest.mark.parametrize("tokens", [1, 2, 100])
def test_equal_to_whole_logits_however_they_are_cut(checkpoints, sampled, batch, tokens, monkeypatch):
    pair = models.load(checkpoints, "float64")
    monkeypatch.setattr(lm_head, "CHUNK_BYTES", 4 * pair.n_ids * tokens)
    assert_same(token_scores(pair, *sampled, batch=batch), whole(pair, sampled), rtol=1e-9, atol=1e-12)


def test_no_more_than_a_chunk_is_handed_over_and_nothing_of_it_stays(pair, sampled, monkeypatch):
    monkeypatch.setattr(lm_head, "CHUNK_BYTES", 8 * pair.n_ids)
    sizes, alive, few = [], [], [part[:2] for part in sampled]

    def read(views):
        gc.collect()
        logits = [x for x in gc.get_objects() if type(x) is torch.Tensor and x.ndim == 2 and x.shape[1] == pair.n_ids]
        alive.append(sum(len(x) for x in logits))
        sizes.append(len(views.student_image))

    read_parts = list(read_by_chunk(pair, *few, read, batch=7))
    assert [len(parts) for parts in read_parts] == [-(-len(rollout.token_ids) // 2) for rollout in few[1]]
    assert max(sizes) == 2 and max(alive) <= 4 * (2 + LEAST_ROWS)


def bend(module, args, output):
    """Make the logits of a model no linear map of its hidden states."""
    output.logits = output.logits + 0.1 * output.logits.square() / (1 + output.logits.abs())


@pytest.mark.parametrize("tokens", [2, 100])
def test_a_model_without_a_linear_head_is_run_a_chunk_at_a_time(checkpoints, sampled, tokens, monkeypatch):
    plain, pair = models.load(checkpoints, "float64"), models.load(checkpoints, "float64")
    pair.student.model.register_forward_hook(bend)
    args = [image for image, _ in sampled[0]], [rollout.token_ids for rollout in sampled[1]], pair.n_ids
    with pytest.raises(CheckpointError):
        view_hidden(pair.student, *args[:2])
    expected = list(whole(pair, sampled))
    with torch.no_grad():
        entropies = [torch.special.entr(logits.softmax(-1)).sum(-1) for logits in view_logits(pair.student, *args)]
    for scores, entropy in zip(expected, entropies, strict=True):
        torch.testing.assert_close(scores.entropy, entropy)
    monkeypatch.setattr(lm_head, "CHUNK_BYTES", 4 * pair.n_ids * tokens)
    sizes = []
    pair.student.model.register_forward_hook(lambda module, args, output: sizes.append(output.logits.shape[:2].numel()))
    assert_same(token_scores(pair, *sampled, batch=7), expected, rtol=1e-9, atol=1e-12)
    assert max(sizes) <= tokens
    straight = token_scores(plain, *sampled)
    assert any(not torch.allclose(a.entropy, b.entropy) for a, b in zip(straight, expected, strict=True))


def with_memory_for(loaded, most: int):
    """Let forward passes of more rows run out of memory; return the hook."""

    def check(module, args, inputs):
        if len(inputs["input_ids"]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 5.00 GiB")

    return loaded.model.register_forward_pre_hook(check, with_kwargs=True)


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_a_batch_that_does_not_fit_is_halved_and_nothing_changes(checkpoints, pair, sampled, side, capsys):
    sides = {name: load_model(str(checkpoints / name)) for name in ("student", "teacher")}
    with_memory_for(sides[side], 2)
    small, batches = pair_of(*sides.values()), Batches(7, "batch")
    capsys.readouterr()
    assert_same(token_scores(small, *sampled, batch=batches), token_scores(pair, *sampled), rtol=1e-4, atol=1e-5)
    assert batches.size == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "note: out of memory at a batch of 7, going on with 3",
        "note: out of memory at a batch of 3, going on with 1",
    ]
    positions = [torch.tensor([0]) for _ in sampled[1]]
    found = [views.student_image for views in score(small, *sampled, batch=7, positions=positions)]
    assert [len(logits) for logits in found] == [1] * 7 and "going on with 1" in capsys.readouterr().err


def test_where_one_response_does_not_fit_the_flag_is_named(checkpoints, sampled):
    sides = {name: load_model(str(checkpoints / name)) for name in ("student", "teacher")}
    with_memory_for(sides["teacher"], 0)
    with pytest.raises(TooLargeError, match="`batch` of 1 must fit into memory") as caught:
        list(token_scores(pair_of(*sides.values()), *sampled, batch=4))
    assert "\n" not in str(caught.value)


def test_a_response_is_named_whose_views_cannot_be_compared(pair, sampled):
    def read(views):
        raise ValueError("no")

    with pytest.raises(NotFiniteError, match=f"response {sampled[1][0].rollout_id}: no"):
        list(read_by_chunk(pair, *sampled, read))
