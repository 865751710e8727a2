"""Gradient checkpointing: the same gradient from less that is kept, rollouts as they were; bfloat16 with all of it."""

import pytest
import torch
from torch import nn

from geometry import total
from records.journal import JOURNAL, read_journal
from tests.train.small import batch, learner, small, watch
from tests.train.test_loop import lines
from train.activation_checkpointing import checkpoint_activations
from train.gradients import batch_grams
from train.loop import train
from train.step import summed_gradient
from vlm.checkpoints.checkpoint import CheckpointError
from vlm.checkpoints.pair import load_pair


def measured(checkpoints, *, again, **changes):
    """The gradient of a step, the Gram matrices of its five, and the number of floats kept for a backward pass."""
    found = learner(small(checkpoints, micro_batch=4, **changes))
    if again:
        checkpoint_activations(found.pair.student.model)
    made = batch(found)
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        gradient = torch.cat([g.flatten() for g in summed_gradient(found, made, watch()).gradient])
    return gradient, torch.from_numpy(total(batch_grams(found, made)).values), sum(kept)


@pytest.mark.parametrize("objective", ["vgs-lp", "language-steering"])
def test_the_gradient_is_the_same_from_less_that_is_kept(checkpoints, objective):
    """With several backward passes through one graph, for eta and for the five gradients."""
    whole, gram, kept = measured(checkpoints, again=False, objective=objective)
    found, its_gram, less = measured(checkpoints, again=True, objective=objective)
    assert (found - whole).norm() <= 1e-6 * whole.norm()
    assert (its_gram - gram).norm() <= 1e-6 * gram.norm()
    assert less < 0.5 * kept


def test_a_run_is_the_same(checkpoints, tmp_path):
    """Rollouts with their cache, evaluations and measurements too."""
    for name, again in (("plain", False), ("again", True)):
        train(small(checkpoints, out=str(tmp_path / name), steps=2, gradient_checkpointing=again))
    assert lines(tmp_path / "again") == lines(tmp_path / "plain")


def test_layers_run_again_in_the_backward_pass_alone(checkpoints):
    model = load_pair(str(checkpoints / "student"), str(checkpoints / "teacher")).student.model
    layer, calls = model.model.language_model.layers[0], []
    layer.mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    checkpoint_activations(model)
    ids = torch.tensor([[20, 21, 22]])
    with torch.no_grad():
        model(input_ids=ids)
    assert len(calls) == 1
    loss = model(input_ids=ids, use_cache=False).logits.square().mean()
    assert len(calls) == 2
    torch.autograd.grad(loss, layer.mlp.down_proj.weight)
    assert len(calls) == 3


def test_a_pass_with_a_cache_and_a_gradient_is_not_run_again(checkpoints):
    model = load_pair(str(checkpoints / "student"), str(checkpoints / "teacher")).student.model
    ids = torch.tensor([[20, 21, 22]])
    plain = model(input_ids=ids, use_cache=False).logits
    checkpoint_activations(model)
    out = model(input_ids=ids, use_cache=True)
    out.logits.square().mean().backward()
    assert out.past_key_values.get_seq_length() == 3
    torch.testing.assert_close(out.logits, plain)


def test_a_model_without_such_layers_is_refused():
    with pytest.raises(CheckpointError, match="`gradient_checkpointing` needs layers .* Linear has none; leave it out"):
        checkpoint_activations(nn.Linear(2, 2))


@pytest.mark.parametrize("rank", [0, 2])
def test_bfloat16_runs_with_all_of_it(checkpoints, tmp_path, rank):
    """What is kept in the checkpoint stays float32, and each step moves it."""
    changes = {"dtype": "bfloat16", "gradient_checkpointing": True, "lora_rank": rank, "micro_batch": 4}
    folder = train(
        small(checkpoints, out=str(tmp_path / "run"), steps=2, evaluate_every=1, geometry_every=1, **changes)
    )
    found = read_journal(folder)
    assert [line.skipped for line in found.steps] == [False, False] and (folder / JOURNAL).is_file()
    assert all(line.gradient_norm > 0 for line in found.steps)
    assert all(line.norms["language_model"]["standard"] > 0 for line in found.geometry) and len(found.geometry) == 2
    student = load_pair(str(folder / "last")).student
    first = load_pair(str(checkpoints / "student"), str(checkpoints / "teacher")).student
    assert {p.dtype for p in student.model.parameters()} == {torch.float32}
    moved = [not torch.equal(a, b) for a, b in zip(student.model.parameters(), first.model.parameters(), strict=True)]
    assert any(moved)
