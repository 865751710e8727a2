"""What `auto` stands for: the accelerator, each process its own, or the CPU."""

import pytest
import torch

from vlm.checkpoints import devices
from vlm.checkpoints.checkpoint import CheckpointError
from vlm.checkpoints.devices import device_name, device_of

CPU = torch.device("cpu")


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine that says it has two; nothing is put on them."""
    gpu = torch.device("cuda")
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda check_available=False: gpu)
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 2)
    monkeypatch.setattr(devices, "_try", lambda *_: None)
    for name in ("LOCAL_RANK", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="needs a machine without an accelerator")
def test_without_an_accelerator_auto_is_the_cpu(monkeypatch):
    assert (device_of("auto"), device_of("cpu"), device_name("auto"), device_name("cpu")) == (CPU, CPU, "cpu", "cpu")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_of("auto") == CPU


def test_one_process_takes_the_accelerator(two_gpus):
    assert device_of("auto") == device_of("cuda") == torch.device("cuda")
    assert device_of("cuda:1") == torch.device("cuda", 1)
    assert (device_name("auto"), device_name("cuda:1")) == ("cuda", "cuda:1")


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_of_several_processes_each_has_its_own(two_gpus, monkeypatch, asked):
    for rank in (0, 1):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert device_of(asked) == torch.device("cuda", rank)
        assert (device_of("cuda:0"), device_of("cpu")) == (torch.device("cuda", 0), CPU)
        assert device_name("auto") == "cuda"  # a record is the same whoever writes it
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(CheckpointError, match="a device for each process of the machine, got 2 for process 3"):
        device_of(asked)


def test_accelerate_can_be_told_to_stay_on_the_cpu(two_gpus, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert device_of("auto") == CPU


def test_an_accelerator_without_float64_is_passed_over(two_gpus, monkeypatch):
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda check_available=False: torch.device("mps"))
    assert device_of("auto") == CPU


@pytest.mark.parametrize("asked", ["xpu:9", "gpu", "", "cuda:77"])
def test_a_device_that_is_not_there_is_one_line_that_names_the_option(asked):
    with pytest.raises(CheckpointError) as caught:
        device_of(asked, "teacher_device")
    said = str(caught.value)
    assert said.startswith(f"`teacher_device` {asked!r} cannot be used (") and "\n" not in said
