"""Sampling: the model's own distribution and nothing else, a random stream a rollout, no vision token ever."""

import json
from dataclasses import replace

import pytest
import torch

from tests import models
from vlm.checkpoints.checkpoint import load_model
from vlm.responses import rollouts
from vlm.responses.halving import Batches
from vlm.responses.rollouts import Sampling, _Chooser, generate, nucleus, stream_seed
from vlm.responses.scoring import view_logits
from vlm.views.view import image_view


def tokens(loaded, prompts, **settings):
    return [rollout.token_ids for rollout in generate(loaded, prompts, Sampling(max_response=8, **settings))]


def test_a_rollout_depends_on_seed_prompt_and_index_alone(pair):
    prompts = models.scenes(6)
    together = tokens(pair.student, prompts, per_prompt=2, batch=5)
    assert together == tokens(pair.student, prompts, per_prompt=2, batch=1)
    assert together[6:8] == tokens(pair.student, [prompts[3]], per_prompt=2)
    assert together == tokens(pair.student, prompts, per_prompt=2, batch=12)
    assert together != tokens(pair.student, prompts, per_prompt=2, seed=1)
    assert together[0] != together[1]


def test_each_token_is_at_its_quantile_of_the_models_distribution(pair):
    """The t-th token is the inverse of the cumulative distribution at the t-th number of the rollout's stream."""
    [prompt], loaded = models.scenes(1), pair.student
    [rollout] = generate(loaded, [prompt], Sampling(max_response=8))
    [logits] = view_logits(loaded, [image_view(prompt)], [rollout.token_ids], loaded.n_ids)
    below = torch.softmax(logits.double(), dim=-1).cumsum(dim=-1)
    stream = torch.Generator().manual_seed(stream_seed(0, prompt.prompt_id, 0))
    for row, token in zip(below, rollout.token_ids, strict=True):
        number = torch.rand((), generator=stream, dtype=torch.float64)
        low = row[token - 1] if token else 0.0
        assert low - 1e-5 <= number <= row[token] + 1e-5


def test_draws_follow_the_softmax():
    """Pearson's statistic over 20,000 draws from six probabilities; 25.7 is the 0.9999 quantile of chi2 with 5."""
    n = 20_000
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, 0.5, -2.0, 9.0])
    chooser = _Chooser(range(n), [6], Sampling(max_response=1))
    drawn = chooser(torch.zeros(n, 1), logits.expand(n, -1)).argmax(dim=1)
    counts = torch.bincount(drawn, minlength=7)
    expected = n * torch.softmax(logits[:6].double(), dim=0)
    assert counts[6] == 0
    assert ((counts[:6] - expected) ** 2 / expected).sum() < 25.7


@pytest.mark.parametrize("top_p", [1.0, 0.7])
def test_tokens_are_bitwise_those_of_one_draw_after_the_other(top_p):
    """A slow twin: a number of each stream when it is needed, the softmax and its sum written out."""
    seeds, banned, generator = [3, 7, 11], [1, 498], torch.Generator().manual_seed(0)
    chooser = _Chooser(seeds, banned, Sampling(max_response=40, top_p=top_p))
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]
    for step in range(40):
        logits = 3.0 * torch.randn(3, 500, generator=generator)
        probabilities = torch.softmax(logits.index_fill(1, torch.tensor(banned), -torch.inf).double(), dim=-1)
        if top_p < 1.0:
            probabilities = probabilities.where(nucleus(probabilities, top_p), 0.0)
        cumulative = probabilities.cumsum(dim=-1)
        uniform = torch.stack([torch.rand((), generator=stream, dtype=torch.float64) for stream in streams])
        expected = [(row <= number * row[-1]).sum() for row, number in zip(cumulative, uniform, strict=True)]
        kept = logits.clone()
        assert chooser(torch.zeros(3, 1), logits).argmax(dim=1).tolist() == expected
        assert torch.equal(logits, kept)
        mass = torch.softmax(logits.double(), dim=-1)[:, banned].sum(dim=-1)
        torch.testing.assert_close(chooser.banned_mass[step], mass, rtol=1e-12, atol=0.0)


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(pair, monkeypatch, capsys):
    prompts, tried = models.scenes(6), []
    whole = generate(pair.student, prompts, Sampling(max_response=4))

    def fits(loaded, jobs, sampling):
        tried.append(len(jobs))
        if len(jobs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return rollouts._generate_batch(loaded, jobs, sampling)

    monkeypatch.setattr(rollouts, "_generate_part", fits)
    batches, shown = Batches(6, "batch"), []
    assert generate(pair.student, prompts, Sampling(max_response=4), progress=shown.append, batches=batches) == whole
    assert tried == [6, 3, 1, 1, 1, 1, 1, 1] and shown == [1, 2, 3, 4, 5, 6]
    assert "out of memory at a batch of 3, going on with 1" in capsys.readouterr().err
    tried.clear()
    assert generate(pair.student, prompts[:2], Sampling(max_response=4), batches=batches) == whole[:2]
    assert tried == [1, 1]


def test_the_nucleus_is_the_fewest_ids_that_have_the_share():
    p = torch.tensor([0.1, 0.4, 0.0, 0.3, 0.2], dtype=torch.float64)
    for top_p, ids in ((1e-9, [1]), (0.39, [1]), (0.41, [1, 3]), (0.85, [1, 3, 4]), (0.95, [0, 1, 3, 4])):
        assert nucleus(p, top_p).nonzero()[:, 0].tolist() == ids
        assert nucleus(7 * torch.stack([p, p.flip(0)]), top_p)[1].nonzero()[:, 0].tolist() == [4 - i for i in ids[::-1]]
    assert nucleus(torch.ones(4), 0.5).tolist() == [True, True, False, False]


def test_draws_below_top_p_1_follow_the_softmax_over_the_nucleus():
    """18.4 is the 0.9999 quantile of chi2 with 2; the banned id, the most probable, has no part in the share."""
    n = 20_000
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, 0.5, -2.0, 9.0])
    chooser = _Chooser(range(n), [6], Sampling(max_response=1, top_p=0.8))
    counts = torch.bincount(chooser(torch.zeros(n, 1), logits.expand(n, -1)).argmax(dim=1), minlength=7)
    drawn = torch.tensor([1, 3, 4])
    expected = n * torch.softmax(logits[drawn].double(), dim=0)
    assert counts[drawn].sum() == n
    assert ((counts[drawn] - expected) ** 2 / expected).sum() < 18.4


def test_top_p_is_that_of_the_request(pair):
    prompts = models.scenes(4)
    assert tokens(pair.student, prompts, top_p=1e-6) == tokens(pair.student, prompts, greedy=True)
    assert tokens(pair.student, prompts, top_p=0.5) != tokens(pair.student, prompts)


@pytest.mark.parametrize("greedy", [False, True])
def test_banned_ids_are_never_drawn(checkpoints, greedy):
    loaded = load_model(str(checkpoints / "student"))
    rows = loaded.model.get_output_embeddings().weight.shape[0]
    assert {3, 4, 5, 6} <= set(loaded.banned_ids) and rows - 1 in loaded.banned_ids
    favoured = [*loaded.banned_ids, 40]

    def favour(module, inputs, logits):
        return logits.index_add(-1, torch.tensor(favoured), 1e4 * torch.ones(*logits.shape[:-1], len(favoured)))

    handle = loaded.model.get_output_embeddings().register_forward_hook(favour)
    drawn = {token for ids in tokens(loaded, models.scenes(6), greedy=greedy) for token in ids}
    handle.remove()
    assert drawn == {40}


def test_truncation_and_the_end_token(checkpoints):
    loaded = load_model(str(checkpoints / "student"))
    [end] = {*loaded.end_ids} & {2}

    def end_third(module, inputs, logits):
        return logits.index_fill(-1, torch.tensor([end]), 50.0 if end_third.calls == 2 else -50.0)

    def count(module, inputs, logits):
        end_third.calls += 1

    end_third.calls = -1
    head = loaded.model.get_output_embeddings()
    handles = [head.register_forward_hook(count), head.register_forward_hook(end_third)]
    [ended] = generate(loaded, models.scenes(1), Sampling(max_response=8))
    end_third.calls = -1
    [cut] = generate(loaded, models.scenes(1), Sampling(max_response=2))
    for handle in handles:
        handle.remove()
    assert ended.token_ids[-1] == end and len(ended.token_ids) == 3 and not ended.truncated
    assert "<|im_end|>" not in ended.text
    assert cut.truncated and cut.token_ids == ended.token_ids[:2]


def test_a_checkpoints_generation_settings_do_not_act(checkpoints, tmp_path):
    folder = models.copy_of(checkpoints / "student", tmp_path / "truncating")
    path = folder / "generation_config.json"
    acting = {
        "do_sample": True, "top_k": 1, "top_p": 0.1, "min_p": 0.5, "typical_p": 0.2, "temperature": 0.01,
        "repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "suppress_tokens": list(range(8, 60)),
        "begin_suppress_tokens": [70], "min_new_tokens": 8, "num_beams": 1, "max_new_tokens": 3,
        "forced_eos_token_id": 2, "bad_words_ids": [[80]], "sequence_bias": [[[90], 9.0]],
    }  # fmt: skip
    path.write_text(json.dumps(json.loads(path.read_text()) | acting))
    plain, acted = (load_model(str(place)) for place in (checkpoints / "student", folder))
    prompts = models.scenes(4)
    assert tokens(plain, prompts) == tokens(acted, prompts)
    assert acted.end_ids == plain.end_ids


def test_prompts_of_other_names_have_other_streams(pair):
    prompts = [replace(models.scenes(1)[0], prompt_id=name) for name in "pq"]
    first, second = tokens(pair.student, prompts)
    assert first != second


def test_ids_name_the_prompt_and_the_index(pair):
    prompts = [replace(models.scenes(1)[0], prompt_id="p")]
    drawn = generate(pair.student, prompts, Sampling(max_response=2, per_prompt=2))
    assert [rollout.rollout_id for rollout in drawn] == ["p/0", "p/1"]
