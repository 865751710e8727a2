"""The metric read from an optimizer's state against Adam's recursion by hand, and states that are refused."""

import math

import pytest
import torch
from torch import nn
from transformers import Trainer

from vlm.checkpoints.checkpoint import CheckpointError
from vlm.checkpoints.optimizer_state import STATE, adam_metric_of, state_file

STEPS, BETA2, EPS = 3, 0.95, 1e-3


def small():
    """A model of weights, biases and a norm, no two neighbours of one shape."""
    return nn.ModuleDict({"first": nn.Linear(3, 4), "norm": nn.LayerNorm(4), "second": nn.Linear(4, 2)})


def gradients(parameter, number):
    """The gradients of a parameter, a step after the other."""
    generator = torch.Generator().manual_seed(number)
    return [torch.randn(parameter.shape, generator=generator) for _ in range(STEPS)]


def trained(model, groups=None, kind=torch.optim.AdamW, **settings):
    """The optimizer of `model` after some steps with made-up gradients."""
    groups = groups or [{"params": [p for p in model.parameters() if p.requires_grad]}]
    optimizer = kind(groups, lr=1e-3, **settings)
    numbered = {parameter: number for number, parameter in enumerate(model.parameters())}
    for step in range(STEPS):
        for group in groups:
            for parameter in group["params"]:
                parameter.grad = gradients(parameter, numbered[parameter])[step].to(parameter)
        optimizer.step()
    return optimizer


def adam(model, groups=None, **settings):
    return trained(model, groups, betas=(0.9, BETA2), eps=EPS, **settings)


def by_hand(model):
    """1 / (sqrt(v) + eps) from the recursion of the second moment."""
    metric = {}
    for number, parameter in enumerate(model.parameters()):
        v = torch.zeros(parameter.shape)
        for g in gradients(parameter, number):
            v = BETA2 * v + (1 - BETA2) * g**2
        metric[parameter] = 1 / ((v / (1 - BETA2**STEPS)).sqrt() + EPS)
    return metric


def write(path, content):
    torch.save(content, path)
    return path


def check(found, expected):
    assert found.keys() == expected.keys()
    for parameter, factors in found.items():
        torch.testing.assert_close(factors, expected[parameter].to(factors), rtol=1e-5, atol=0)


def as_trainer(model):
    """The two groups of transformers' Trainer."""
    decaying = Trainer.get_decay_parameter_names(None, model)
    sides = [[p for name, p in model.named_parameters() if (name in decaying) is side] for side in (True, False)]
    return [{"params": sides[0], "weight_decay": 0.1}, {"params": sides[1], "weight_decay": 0.0}]


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("groups", [None, as_trainer])
def test_equals_the_recursion_by_hand(tmp_path, wrapped, groups):
    model = small()
    state = adam(model, groups and groups(model)).state_dict()
    path = write(tmp_path / STATE, {"step": 3, "best": None, "optimizer": state} if wrapped else state)
    found = adam_metric_of(model, path)
    check(found.factors, by_hand(model))
    assert found.zero_share == 0


def test_parameters_that_are_named_need_no_order(tmp_path):
    model = small()
    groups = [{"params": list(model[name].parameters())} for name in ("second", "norm", "first")]
    state = adam(model, groups).state_dict()
    with pytest.raises(CheckpointError, match="must have the shapes of the model"):
        adam_metric_of(model, write(tmp_path / "unnamed.pt", state))
    for group, part in zip(state["param_groups"], ("second", "norm", "first"), strict=True):
        group["param_names"] = [f"{part}.{name}" for name, _ in model[part].named_parameters()]
    check(adam_metric_of(model, write(tmp_path / "named.pt", state)).factors, by_hand(model))


def test_under_amsgrad_the_largest_moment_counts(tmp_path):
    model = small()
    optimizer = adam(model, amsgrad=True)
    largest = {p: optimizer.state[p]["max_exp_avg_sq"].mul_(4) for p in model.parameters()}
    found = adam_metric_of(model, write(tmp_path / STATE, optimizer.state_dict()))
    check(found.factors, {p: 1 / ((v / (1 - BETA2**STEPS)).sqrt() + EPS) for p, v in largest.items()})


@pytest.mark.parametrize("all_trained", [True, False])
def test_of_a_part_of_the_model(tmp_path, all_trained):
    """What is measured may be what was trained, or a part of it."""
    model = small()
    expected = {p: factors for p, factors in by_hand(model).items() if p is not model["first"].weight}
    if all_trained:
        path = write(tmp_path / STATE, adam(model).state_dict())
    model["first"].weight.requires_grad_(False)
    if not all_trained:
        path = write(tmp_path / STATE, adam(model).state_dict())
    check(adam_metric_of(model, path).factors, expected)


def test_entries_without_a_moment_are_counted(tmp_path):
    model = small()
    optimizer = adam(model)
    optimizer.state[model["first"].weight]["exp_avg_sq"][0] = 0.0
    found = adam_metric_of(model, write(tmp_path / STATE, optimizer.state_dict()))
    assert found.factors[model["first"].weight][0].tolist() == pytest.approx([1 / EPS] * 3)
    assert found.zero_share == pytest.approx(3 / sum(p.numel() for p in model.parameters()))


def test_is_as_wide_as_the_parameters_and_at_least_float32(tmp_path):
    path = write(tmp_path / STATE, adam(small()).state_dict())
    for dtype, wide in ((torch.float64, torch.float64), (torch.bfloat16, torch.float32)):
        model = small().to(dtype)
        assert {factors.dtype for factors in adam_metric_of(model, path).factors.values()} == {wide}


def test_the_fingerprint_is_the_files(tmp_path):
    model = small()
    state = adam(model).state_dict()
    prints = [adam_metric_of(model, write(tmp_path / name, state)).fingerprint for name in ("a", "a")]
    state["state"][0]["exp_avg_sq"][0] += 1
    prints.append(adam_metric_of(model, write(tmp_path / "a", state)).fingerprint)
    assert prints[0] == prints[1] != prints[2] and len(prints[0]) == 16


def spoilt(model, **settings):
    """A state with other settings in its first group."""
    state = adam(model).state_dict()
    state["param_groups"][0] |= settings
    return state


def with_moment(model, value):
    """A state with one second moment replaced."""
    state = adam(model).state_dict()
    state["state"][1]["exp_avg_sq"][0] = value
    return state


NO_INNER_PRODUCT = {
    "a negative moment": lambda model: with_moment(model, -1.0),
    "a moment of nan": lambda model: with_moment(model, math.nan),
    "a moment of inf": lambda model: with_moment(model, math.inf),
    "a negative eps": lambda model: spoilt(model, eps=-1.0),
    "an eps of nan": lambda model: spoilt(model, eps=math.nan),
    "an eps of inf": lambda model: spoilt(model, eps=math.inf),
    "nothing to divide by": lambda model: (
        with_moment(model, 0.0) | {"param_groups": spoilt(model, eps=0.0)["param_groups"]}
    ),
    "a beta2 of 1": lambda model: spoilt(model, betas=(0.9, 1.0)),
    "a beta2 of 2": lambda model: spoilt(model, betas=(0.9, 2.0)),
    "a beta2 of nan": lambda model: spoilt(model, betas=(0.9, math.nan)),
}


@pytest.mark.parametrize("state", NO_INNER_PRODUCT.values(), ids=NO_INNER_PRODUCT)
def test_states_whose_metric_is_no_inner_product_are_refused(tmp_path, state):
    model = small()
    with pytest.raises(CheckpointError, match="`optimizer_state` .* must h.* for first.(weight|bias)") as refusal:
        adam_metric_of(model, write(tmp_path / STATE, state(model)))
    assert "\n" not in str(refusal.value)


def unmoved(model):
    return torch.optim.AdamW(model.parameters()).state_dict()


def without_a_gradient(model):
    optimizer = adam(model)
    del optimizer.state[model["norm"].bias]
    return optimizer.state_dict()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda model: {"weights": 1}, "must be a file of tensors that torch.save wrote"),
        (lambda model: trained(model, kind=torch.optim.SGD).state_dict(), "must be the state of Adam or AdamW"),
        (lambda model: adam(model["first"]).state_dict(), "must hold the parameters that are measured, got 2 for 6"),
        (unmoved, r"second moment \(exp_avg_sq\) of first.weight, got none"),
        (without_a_gradient, r"second moment \(exp_avg_sq\) of norm.bias, got none"),
        (
            lambda model: adam(nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2))).state_dict(),
            r"must have the shapes of the model, got \(5, 3\) for first.weight, which has \(4, 3\)",
        ),
    ],
)
def test_refusals(tmp_path, content, message):
    model = small()
    path = write(tmp_path / STATE, content(model))
    with pytest.raises(CheckpointError, match=message) as caught:
        adam_metric_of(model, path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"`optimizer_state` {path}")


def test_a_file_that_runs_code_or_is_none_is_refused(tmp_path):
    for name, content in (("code.pt", nn.Linear(1, 1)), ("text.pt", None)):
        write(tmp_path / name, content) if content else (tmp_path / name).write_text("no state")
        with pytest.raises(CheckpointError, match="must be a file of tensors"):
            adam_metric_of(small(), tmp_path / name)


def test_the_state_stands_beside_the_weights(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no training.pt, .*; add --optimizer-state FILE"):
        state_file(str(tmp_path))
    (tmp_path / STATE).touch()
    assert state_file(str(tmp_path)) == tmp_path / STATE
    with pytest.raises(CheckpointError, match="must be a file, got nowhere.pt"):
        state_file(str(tmp_path), "nowhere.pt")
