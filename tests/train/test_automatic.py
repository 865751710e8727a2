"""Steering whose strength sets itself: gamma from the first batch, lambda by dual ascent."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from cli.errors import OptionError
from geometry import Gram, Thresholds, total
from records.journal import read_journal
from tests.train.small import batch, both_logits, learner, small, watch
from tests.train.test_loop import lines, train_in_two
from train import automatic
from train.checkpoint import Progress
from train.config import Config
from train.gradients import batch_grams
from train.learner import Learner
from train.loop import train
from train.outcome import Outcome
from train.prior import frozen_prior
from train.step import summed_gradient, update
from vlm.checkpoints.pair import load_pair
from vlm.responses.token_losses import Tokens

AUTO = {"objective": "auto", "geometry_every": 0, "lr": 1e-2}


def auto(checkpoints, **changes) -> Learner:
    one = learner(small(checkpoints, **(AUTO | changes)))
    return replace(one, prior=frozen_prior(one.config, one.pair, None))


def kl(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    log_a, log_b = (view.double().log_softmax(-1) for view in (a, b))
    return (log_a.exp() * (log_a - log_b)).nansum(-1).numpy()


@torch.no_grad()
def slow_excess(one: Learner, first, made) -> float:
    """L - L0 from whole logits in float64, one response at a time."""
    pair, rows = one.pair, []
    for response in made.responses:
        own, begun, (image, text) = (
            both_logits(loaded, [response], pair.n_ids) for loaded in (pair.student, first, pair.teacher)
        )
        if response.prompt.has_image:
            rows.append(np.stack([kl(image, text), kl(own[1], text), kl(begun[1], text)]))
    vds, language, at_first = np.concatenate(rows, axis=1)
    above = vds > np.quantile(vds, 0.7)
    return float(language[above].mean() - at_first[above].mean())


def test_lambda_is_its_slow_twin(checkpoints):
    one, rho = auto(checkpoints, rho=3.0), 3.0
    first = load_pair(one.config.student, one.config.teacher).student
    progress, lambda_ = Progress(), 0.0
    for step in range(4):
        made = batch(one, step)
        automatic.choose_gamma(one, progress, made)
        excess = slow_excess(one, first, made)
        outcome = update(one, made, watch(), automatic.objective_of_step(one.config, progress))
        used = automatic.moved(one.config, progress, made, outcome)
        assert used.unlearnt_nats == pytest.approx(excess, abs=2e-6)
        assert used.lambda_ == pytest.approx(lambda_, abs=1e-5)
        lambda_ = max(0.0, lambda_ + rho * excess)
        assert progress.lambda_ == pytest.approx(lambda_, abs=1e-5)
        if step == 1:  # the student forgets, and the next steps find it
            with torch.no_grad():
                one.pair.student.model.get_input_embeddings().weight.mul_(3.0)
    assert lambda_ > 0.01


def test_before_the_first_step_nothing_is_unlearnt(checkpoints):
    one, progress = auto(checkpoints), Progress()
    made = batch(one)
    automatic.choose_gamma(one, progress, made)
    outcome = update(one, made, watch(), automatic.objective_of_step(one.config, progress))
    assert automatic.moved(one.config, progress, made, outcome).unlearnt_nats == pytest.approx(0.0, abs=1e-6)


@given(nats=st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=20), rho=st.floats(0.0, 10.0))
def test_lambda_never_falls_below_0_and_rises_where_language_is_unlearnt(nats, rho):
    config, progress = Config(objective="auto", rho=rho), Progress(gamma=2.0)
    vds, seen = torch.tensor([0.0, 1.0, 2.0, 5.0]), torch.tensor([1.0, 1.0, 1.0, 0.0])
    made = SimpleNamespace(thresholds=[Thresholds(0.0, 0.5)], first_language=0.25)
    for excess in nats:
        before = progress.lambda_
        language = torch.tensor([9.0, 0.25 + excess, 0.25 + excess, 9.0], dtype=torch.float64)
        tokens = Tokens(language, language, language, vds, language, seen)
        used = automatic.moved(config, progress, made, Outcome(1.0, 1.0, 1.0, False, tokens))
        assert used.unlearnt_nats == pytest.approx(excess) and used.lambda_ == before
        assert progress.lambda_ >= 0.0
        assert progress.lambda_ == pytest.approx(max(0.0, before + rho * excess))
        if excess > 1e-3 and rho > 1e-3:
            assert progress.lambda_ > before


def test_a_skipped_step_moves_nothing():
    progress = Progress(gamma=2.0, lambda_=0.5)
    made = SimpleNamespace(thresholds=None, first_language=None)
    skipped = Outcome(math.nan, math.nan, math.nan, True, None)
    used = automatic.moved(Config(objective="auto"), progress, made, skipped)
    assert (used.gamma, used.lambda_, used.unlearnt_nats, progress.lambda_) == (2.0, 0.5, None, 0.5)


def test_gamma_is_that_of_the_first_batch_and_stays(checkpoints, capsys):
    one, progress = auto(checkpoints, gamma_max=1e6), Progress()
    made = batch(one)
    gram = total(batch_grams(one, made))
    automatic.choose_gamma(one, progress, made)
    assert progress.gamma == pytest.approx(float(gram.norm("standard") / gram.norm("visual")))
    chosen = progress.gamma
    update(one, made, watch(), automatic.objective_of_step(one.config, progress))
    automatic.choose_gamma(one, progress, batch(one, 1))
    assert progress.gamma == chosen
    said = capsys.readouterr().out
    assert said.count("it turns the standard gradient by ") == 1


def test_little_to_steer_is_said():
    narrow, wide = (Gram([[1.0, math.cos(a)], [math.cos(a), 1.0]], ("standard", "visual")) for a in (0.1, 1.0))
    assert automatic.chosen(narrow, 1.0) == (
        "gamma 1.00: it turns the standard gradient by 3 of the 6 degrees to visual, so that steering has little to do"
    )
    assert automatic.chosen(wide, 1.0) == "gamma 1.00: it turns the standard gradient by 29 of the 57 degrees to visual"


def test_gradients_of_unknown_lengths_are_refused_in_one_line(checkpoints, monkeypatch):
    one = auto(checkpoints)
    monkeypatch.setattr("train.automatic.batch_grams", lambda *_: {"all": Gram(np.full((4, 4), np.nan))})
    with pytest.raises(OptionError, match="`objective` auto must have gradients of known lengths") as caught:
        automatic.choose_gamma(one, Progress(), batch(one))
    assert "\n" not in str(caught.value)


def test_a_step_is_that_of_vgs_lp_with_these_strengths(checkpoints):
    one = auto(checkpoints)
    objective = automatic.objective_of_step(one.config, Progress(gamma=1.5, lambda_=0.7))
    same = {"objective": "vgs-lp", "prior": "frozen", "eta": "none", "gamma": 1.5, "lambda_": 0.7}
    other = replace(one, config=small(checkpoints, **(AUTO | same)))
    made = batch(one)
    found = summed_gradient(one, made, watch(), objective)
    expected = summed_gradient(other, batch(other), watch())
    assert all(torch.equal(a, b) for a, b in zip(found.gradient, expected.gradient, strict=True))
    assert (found.loss, found.eta) == (expected.loss, 1.0)


def test_the_cut_into_micro_batches_changes_nothing(checkpoints):
    whole, cut = (batch(auto(checkpoints, micro_batch=size)).first_language for size in (6, 2))
    assert whole > 0.0 and cut == pytest.approx(whole, rel=1e-5)


def test_a_run_continues_bit_by_bit_with_its_strengths(checkpoints, tmp_path, monkeypatch):
    """With a bound of 0 on the language loss, so that lambda rises in every step."""
    settings = {**AUTO, "steps": 5, "checkpoint_every": 2, "evaluate_every": 0, "rho": 4.0}
    monkeypatch.setattr("train.batch.language_from_hidden", lambda prior, *_, **__: prior.hidden[:, 0] * 0.0)
    whole = train(small(checkpoints, out=str(tmp_path / "whole"), **settings))
    cut = train_in_two(small(checkpoints, out=str(tmp_path / "cut"), **settings), 3, monkeypatch)
    assert lines(cut) == lines(whole)
    steps = read_journal(whole).steps
    assert len({line.gamma for line in steps}) == 1 and steps[0].gamma > 0.0
    assert len({line.lambda_ for line in steps}) > 2 and min(line.lambda_ for line in steps) == 0.0
    states = [torch.load(run / "last" / "training.pt", weights_only=True) for run in (whole, cut)]
    assert states[0]["gamma"] == states[1]["gamma"] == steps[0].gamma
    expected = automatic.raised(steps[-1].lambda_, 4.0, steps[-1].unlearnt_nats)
    assert states[0]["lambda_"] == states[1]["lambda_"] == expected
    ours, theirs = (load_file(run / "last/model.safetensors") for run in (whole, cut))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_adapters_have_the_student_without_them_as_the_first(checkpoints, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    settings = {**AUTO, "lora_rank": 2, "steps": 3, "checkpoint_every": 2, "evaluate_every": 0, "rho": 50.0}
    whole = train(small(checkpoints, out=str(tmp_path / "whole"), **settings))
    steps = read_journal(whole).steps
    assert steps[0].gamma > 0.0 and steps[0].unlearnt_nats == pytest.approx(0.0, abs=1e-6)
    assert abs(steps[2].unlearnt_nats) > 1e-5
    cut = train_in_two(small(checkpoints, out=str(tmp_path / "cut"), **settings), 2, monkeypatch)
    assert lines(cut) == lines(whole)


def test_without_pictures_nothing_is_steered(checkpoints, tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"problem": "how much is {n} plus 1?", "answer": "{n + 1}"}}\n' for n in range(5)))
    changes = {"prompts": str(path), "held_out": 2, "batch": 3, "steps": 2, "evaluate_every": 0}
    run = train(small(checkpoints, out=str(tmp_path / "run"), **AUTO, **changes))
    strengths = [(line.gamma, line.lambda_, line.unlearnt_nats) for line in read_journal(run).steps]
    assert strengths == [(0.0, 0.0, None)] * 2
    assert "gamma 0: the first batch has no gradient to steer" in capsys.readouterr().out


def test_other_runs_have_no_strengths_of_their_own(checkpoints, tmp_path):
    run = train(small(checkpoints, out=str(tmp_path / "run"), steps=1, evaluate_every=0, geometry_every=0))
    [line] = read_journal(run).steps
    assert (line.gamma, line.lambda_, line.unlearnt_nats) == (None, None, None)
