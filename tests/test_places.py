"""No tensor of the model's side is made or left on the CPU: each path runs where `cpu:0` is another place than `cpu`.

Then each path again with a planted fault: one module that makes its tensors without naming a device.
"""

import importlib
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from probes import Analyzer
from tests.host_and_device import DEVICE, HostAndDevice, MixedPlacesError
from tests.train.small import small
from train import train

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
    "tokens": lambda one: one.tokens,
    "angles": lambda one: one.angles(per_bin=1),
    "corpus bins": lambda one: one.angles(per_bin=1, unit="corpus-bin"),
    "support": lambda one: one.support(top_k=[2]),
    "sensitivity": lambda one: one.sensitivity(),
    "accuracy": lambda one: one.accuracy(),
    "real steps": lambda one: one.diagnose(per_bin=1, trial_steps=1),
}


@pytest.mark.parametrize("path", PROBES)
def test_a_probe_keeps_to_the_device(analyzer, path):
    PROBES[path](analyzer)
    assert {p.device.index for loaded in analyzer.pair.models for p in loaded.model.parameters()} <= {0}


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"objective": "grpo+vgs-lp", "rollouts_per_prompt": 2},
        {"objective": "standard", "lora_rank": 2},
        {"support": "topk:2"},
    ],
)
def test_training_keeps_to_the_device(checkpoints, tmp_path, monkeypatch, flags):
    run(checkpoints, tmp_path, monkeypatch, **flags)


def run(checkpoints, folder, monkeypatch, **flags: Any) -> None:
    """One step with its evaluations and its measurement of gradients."""
    monkeypatch.setattr(Accelerator, "device", torch.device(DEVICE))
    every = {"steps": 1, "evaluate_every": 1, "geometry_every": 1, "held_out": 2, "batch": 2, "max_response": 3}
    with HostAndDevice():
        train(small(checkpoints, out=str(folder / "run"), **every | flags))


@pytest.mark.parametrize("options", [{"teacher_device": "cpu"}, {"offload": True}, {"device_map": "auto"}])
def test_wherever_the_teacher_is_numbers_and_header_are_the_same(checkpoints, options):
    plain = analyzer_of(checkpoints, device="cpu").angles(per_bin=1)
    with HostAndDevice():
        one = analyzer_of(checkpoints, **options)
        placed = one.angles(per_bin=1)
        one.sensitivity()
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


@pytest.mark.parametrize(
    ("module", "path"),
    [
        ("vlm.responses.scoring", "tokens"),
        ("geometry.gramian.backward", "angles"),
        ("geometry.bins", "tokens"),
    ],
)
def test_a_probe_with_a_planted_fault_is_caught(checkpoints, monkeypatch, module, path):
    monkeypatch.setattr(importlib.import_module(module), "torch", Forgetful())
    with HostAndDevice(), pytest.raises(MixedPlacesError, match=module.replace(".", "/")):
        PROBES[path](analyzer_of(checkpoints))
