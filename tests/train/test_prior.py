"""Training with the prior of the student before training in the visual target."""

import pytest
import torch
from safetensors.torch import load_file

from tests.train.small import batch, learner, small, watch
from tests.train.test_loop import train_in_two
from train.learner import Learner
from train.loop import train
from train.prior import frozen_prior
from train.step import summed_gradient, update

FROZEN = {"objective": "vgs", "prior": "frozen", "eta": "none", "geometry_every": 0, "lr": 1e-2}


def frozen(checkpoints, **changes) -> Learner:
    one = learner(small(checkpoints, **(FROZEN | changes)))
    prior = frozen_prior(one.config, one.pair, None)
    return Learner(one.pair, one.config, one.optimizer, one.accelerator, prior=prior)


def gradient(one: Learner, of_step: int = 0) -> torch.Tensor:
    return torch.cat([g.flatten() for g in summed_gradient(one, batch(one, of_step), watch()).gradient])


def test_before_the_first_step_it_is_the_student_s_own_prior(checkpoints):
    held = learner(small(checkpoints, **(FROZEN | {"prior": "detached"})))
    torch.testing.assert_close(gradient(frozen(checkpoints)), gradient(held), rtol=0.0, atol=1e-7)


def test_it_stays_while_the_student_moves(checkpoints):
    one = frozen(checkpoints)
    first = one.prior.text_view(batch(one).responses).hidden.clone()
    responses = batch(one).responses
    for step in range(2):
        update(one, batch(one, step), watch())
    assert torch.equal(one.prior.text_view(responses).hidden, first)
    moved = Learner(one.pair, small(checkpoints, **(FROZEN | {"prior": "detached"})), one.optimizer, one.accelerator)
    assert (gradient(one, 2) - gradient(moved, 2)).abs().max() > 1e-4


def test_the_cut_into_micro_batches_changes_nothing(checkpoints):
    whole, cut = (gradient(frozen(checkpoints, micro_batch=size)) for size in (6, 2))
    torch.testing.assert_close(cut, whole, rtol=0.0, atol=1e-7)


def test_a_run_continues_from_its_checkpoint_with_the_first_prior(checkpoints, tmp_path, monkeypatch):
    settings = {"steps": 4, "checkpoint_every": 2, **FROZEN}
    whole = train(small(checkpoints, out=str(tmp_path / "whole"), **settings))
    cut = train_in_two(small(checkpoints, out=str(tmp_path / "cut"), **settings), 3, monkeypatch)
    ours, theirs = (load_file(run / "last/model.safetensors") for run in (whole, cut))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_with_adapters_it_is_the_student_without_them(checkpoints, tmp_path):
    pytest.importorskip("peft")
    from train.models import prepare_student
    from vlm.checkpoints.pair import load_pair

    config = small(checkpoints, lora_rank=2, **FROZEN)
    pair, adapters = prepare_student(load_pair(config.student, config.teacher), config)
    own = frozen_prior(config, pair, adapters)
    assert own.student is pair.student
    responses = batch(learner(config)).responses
    with torch.no_grad():
        for parameter in adapters.parameters.values():
            parameter.add_(0.1)
    other = frozen(checkpoints)
    assert torch.equal(own.text_view(responses).hidden, other.prior.text_view(responses).hidden)


def test_no_copy_is_loaded_where_it_is_not_read(checkpoints):
    for changes in ({"prior": "detached"}, {"gamma": 0.0}):
        one = learner(small(checkpoints, **(FROZEN | changes)))
        assert frozen_prior(one.config, one.pair, None) is None
