"""No tensor of the model's side is made or left on the CPU: each path runs where `cpu:0` is another place than `cpu`.

Then each path again with a planted fault: one module that makes its tensors without naming a device.
"""

import importlib
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import linear

from probes import Analyzer
from tests.host_and_device import DEVICE, HostAndDevice, MixedPlacesError
from tests.probes.monitoring.small import monitor_of
from tests.train.small import small
from train import train
from vlm.checkpoints.pair import load_pair

HOST = torch.device("cpu")
OPTIONS = {"limit": 3, "max_response": 3, "bins": 2, "batch": 2}


@pytest.fixture
def places():
    with HostAndDevice():
        yield


@pytest.fixture
def analyzer(checkpoints, places):
    return analyzer_of(checkpoints)


def analyzer_of(checkpoints, **options: Any) -> Analyzer:
    student, teacher = (str(checkpoints / side) for side in ("student", "teacher"))
    return Analyzer(student, teacher=teacher, **OPTIONS | {"device": DEVICE} | options)


PROBES = {
    "angles": lambda one: one.angles(per_bin=1),
    "corpus bins": lambda one: one.angles(per_bin=1, unit="corpus-bin"),
    "support": lambda one: one.support(top_k=[2]),
    "accuracy": lambda one: one.accuracy(),
    "sensitivity": lambda one: one.sensitivity(),
    "real steps": lambda one: one.diagnose(per_bin=1, trial_steps=1),
}
TRAINING = {
    "vgs-lp": {},
    "mix": {"objective": "grpo+vgs-lp", "rollouts_per_prompt": 2},
    "adapters": {"objective": "standard", "lora_rank": 2},
    "top k": {"support": "topk:2"},
}
SLOW = ("corpus bins", "support", "real steps", "adapters", "top k")


def paths(names):
    return [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in names]


@pytest.mark.parametrize("path", paths(PROBES))
def test_a_probe_keeps_to_the_device(analyzer, path):
    PROBES[path](analyzer)


@pytest.mark.parametrize("path", paths(TRAINING))
def test_training_keeps_to_the_device(checkpoints, tmp_path, monkeypatch, path):
    run(checkpoints, tmp_path, monkeypatch, **TRAINING[path])


def run(checkpoints, folder, monkeypatch, **flags: Any) -> None:
    """One step with its evaluations and its measurement of gradients."""
    monkeypatch.setattr(Accelerator, "device", torch.device(DEVICE))
    every = {"steps": 1, "evaluate_every": 1, "geometry_every": 1, "held_out": 2, "batch": 2, "max_response": 3}
    with HostAndDevice():
        train(small(checkpoints, out=str(folder / "run"), **every | flags))


def test_a_monitor_keeps_to_the_device(checkpoints, places, tmp_path):
    pair = load_pair(str(checkpoints / "student"), str(checkpoints / "teacher"), device=DEVICE)
    monitor = monitor_of(pair, tmp_path / "run", limit=4, max_response=3)
    assert monitor.begin()["monitor/eta"] > 0
    monitor.end(0)


SPREAD = [
    {"teacher_device": "cpu"},
    *(pytest.param(options, marks=pytest.mark.slow) for options in ({"offload": True}, {"device_map": "auto"})),
]


@pytest.mark.parametrize("options", SPREAD)
def test_wherever_the_teacher_is_numbers_and_header_are_the_same(checkpoints, options):
    plain = analyzer_of(checkpoints, device="cpu").angles(per_bin=1)
    with HostAndDevice():
        one = analyzer_of(checkpoints, **options)
        placed = one.angles(per_bin=1)
    for table in ("tokens", "units", "bins"):
        assert plain.tables[table].equals(placed.tables[table])
    assert placed.header["settings"] | {"device": "cpu"} == plain.header["settings"]


def test_two_models_take_turns_on_the_device(checkpoints):
    """While the teacher runs the student is in memory, and the other way round; its output layer stays."""
    where, heads = [], []
    with HostAndDevice():
        one = analyzer_of(checkpoints, offload=True)
        student, teacher = one.pair.models
        versions = one.weight_versions()

        def note(*_: object) -> None:
            where.append([str(loaded.model.get_input_embeddings().weight.device) for loaded in (student, teacher)])

        note()
        teacher.model.get_decoder().register_forward_pre_hook(note)
        student.model.get_decoder().register_forward_pre_hook(note)
        one.tokens  # noqa: B018
        note()
        norms = [next(m.parameters()) for n, m in teacher.model.named_modules() if n.endswith("layers.1.mlp")]
        heads = [str(teacher.model.get_output_embeddings().weight.device), *(str(p.device) for p in norms)]
    tied = teacher.model.config.tie_word_embeddings
    rests = DEVICE if tied else "cpu"
    assert where[0] == where[-1] == [DEVICE, rests]
    assert {tuple(pair) for pair in where} == {(DEVICE, rests), (DEVICE if student_is_tied(student) else "cpu", DEVICE)}
    assert heads == [DEVICE, "cpu"] and one.weight_versions() == versions


def student_is_tied(student) -> bool:
    return student.model.config.tie_word_embeddings


FACTORIES = ("arange", "as_tensor", "empty", "eye", "full", "ones", "tensor", "zeros")


class Forgetful:
    """`torch`, whose factories forget the device that they are told."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(torch, name)
        if name not in FACTORIES:
            return value
        return lambda *args, device=None, **settings: value(*args, **settings)


@pytest.mark.parametrize("module", ["vlm.responses.scoring", "geometry.gramian.engine"])
def test_a_fault_planted_in_a_probe_is_caught(checkpoints, monkeypatch, module):
    with HostAndDevice():
        one = analyzer_of(checkpoints)
        one.tokens  # noqa: B018
        monkeypatch.setattr(importlib.import_module(module), "torch", Forgetful())
        with pytest.raises(MixedPlacesError, match=module.replace(".", "/")):
            one.angles(per_bin=1)


def test_inputs_that_are_left_on_the_host_are_caught(analyzer, monkeypatch):
    monkeypatch.setattr("vlm.responses.rollouts.placed", lambda inputs, *_: inputs)
    with pytest.raises(MixedPlacesError, match="vlm/responses/rollouts"):
        analyzer.rollouts  # noqa: B018


@pytest.mark.parametrize("module", ["vlm.responses.response", "train.batch"])
def test_a_fault_planted_in_training_is_caught(checkpoints, tmp_path, monkeypatch, module):
    monkeypatch.setattr(importlib.import_module(module), "torch", Forgetful())
    with pytest.raises(MixedPlacesError, match="train/|vlm/responses/"):
        run(checkpoints, tmp_path, monkeypatch)


# The two places themselves.


def made(*shape: int) -> Tensor:
    return torch.ones(shape, device=DEVICE)


REFUSED = {
    "a sum": lambda: made(3) + torch.ones(3),
    "a product": lambda: linear(made(2, 3), torch.ones(4, 3)),
    "a stack": lambda: torch.stack([made(3), torch.zeros(3)]),
    "a mask": lambda: made(3).masked_fill(torch.tensor([True, False, True]), 0.0),
    "a number of the device and the host's rows": lambda: made(3).sum() * torch.ones(3),
    "numpy": lambda: made(3).numpy(),
    "like what was moved away": lambda: torch.zeros_like(made(3).cpu()) + made(3),
    "a backward pass": lambda: hooked(torch.ones(3)),
    "forward mode": lambda: torch.func.jvp(lambda x: x * torch.ones(3), (made(3),), (made(3),)),
    "a module": lambda: nn.Linear(3, 2)(made(1, 3)),
}
TAKEN = {
    "a number of the host": lambda: made(3) * torch.tensor(2.0),
    "indices of the host": lambda: made(3)[torch.tensor([0, 2])],
    "what was moved": lambda: made(3) + torch.ones(3).to(DEVICE),
    "as another": lambda: made(3) + torch.ones(3).to(made(1)),
    "on its device": lambda: made(3) + torch.ones(3, device=made(3).device),
    "new from another": lambda: made(3) + made(1).new_zeros(3),
    "a copy": lambda: made(3).copy_(torch.ones(3)),
    "two of the host": lambda: made(3).cpu() + torch.ones(3),
    "numpy of the host": lambda: made(3).cpu().numpy(),
    "a backward pass": lambda: hooked(made(3)),
    "forward mode": lambda: torch.func.jvp(lambda x: x * made(3), (made(3),), (made(3),)),
    "a module that was moved": lambda: nn.Linear(3, 2).to(DEVICE)(made(1, 3)),
}


def hooked(factor: Tensor) -> Tensor:
    """A gradient that is multiplied on its way back."""
    x = made(3).requires_grad_()
    y = x * 2.0
    y.register_hook(lambda gradient: gradient * factor)
    return torch.autograd.grad(y.sum(), x)[0]


@pytest.mark.parametrize("case", REFUSED)
def test_tensors_of_two_places_are_refused(places, case):
    with pytest.raises(MixedPlacesError, match="tests/test_places"):
        REFUSED[case]()


@pytest.mark.parametrize("case", TAKEN)
def test_what_a_gpu_takes_is_taken(places, case):
    TAKEN[case]()


def test_a_tensor_says_where_it_is(places):
    there, here = made(3), torch.ones(3)
    assert [t.device == torch.device(DEVICE) for t in (there, there + 1, here.to(DEVICE), there.double())] == [True] * 4
    assert [t.device == HOST for t in (here, there.cpu(), there.to("cpu"), here + 1)] == [True] * 4
