"""What `auto` stands for: the accelerator, each process its own, or the CPU."""

import json
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
import torch

import probes
from cli.errors import OptionError
from probes import Analyzer, vds
from probes.settings import PLACING, PairOptions
from tests import models
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


@pytest.mark.parametrize("asked", ["xpu:9", "gpu", "", "cuda:77", "mps"])
def test_a_device_that_is_not_there_is_one_line_that_names_the_option(asked):
    with pytest.raises(CheckpointError) as caught:
        device_of(asked, "teacher_device")
    said = str(caught.value)
    assert said.startswith(f"`teacher_device` {asked!r} cannot be used (") and "\n" not in said
    assert len(said) < 200  # torch's lists of kinds and advice on building it are left out


def test_a_record_knows_one_cpu_whatever_its_number():
    assert device_of("cpu:3").type == "cpu" and device_name("cpu:3") == "cpu"


@pytest.mark.parametrize("flag", ["--device", "--teacher-device"])
def test_a_command_refuses_a_device_that_is_not_there(checkpoints, capsys, flag):
    student, teacher = (str(checkpoints / side) for side in ("student", "teacher"))
    assert vds.main([student, "--teacher", teacher, flag, "xpu:9"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: `{flag[2:].replace('-', '_')}` 'xpu:9' cannot be used")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--attention", "me/kernel"], "`attention` must be code that is installed"),
        (["--attention", "spda"], "`attention` must be one of eager, flash_attention_2,"),
        (["--attention", "paged|sdpa"], "`attention` must be one of eager, flash_attention_2,"),
        (["--teacher-dtype", "int8", "--offload"], "`offload` moves whole weights"),
        (["--teacher-device", "cpu", "--offload"], "both say where the teacher is"),
        (["--device-map", "auto", "--offload"], "both say where the teacher is"),
        (["--dtype", "nf4"], "`--dtype` must be one of auto, float32"),
    ],
)
def test_what_does_not_go_together_is_one_line(checkpoints, capsys, argv, said):
    with suppress(SystemExit):
        assert vds.main([str(checkpoints / "student"), "--teacher", str(checkpoints / "teacher"), *argv]) == 2
    [line] = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    assert said in line


def test_first_order_changes_refuse_attention_without_a_forward_mode(checkpoints):
    analyzer = Analyzer(str(checkpoints / "student"), attention="flex_attention")
    for measure in (analyzer.sensitivity, analyzer.diagnose):
        with pytest.raises(OptionError, match="`attention` must be sdpa or eager for first-order changes"):
            measure()


@pytest.mark.parametrize(
    "asked", [{}, {"device": "cpu", "dtype": "float32"}, {"offload": True}, {"teacher_dtype": "auto"}]
)
def test_a_record_of_an_earlier_version_states_what_auto_stands_for(asked, monkeypatch):
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda check_available=False: None)
    committed = json.loads((Path(probes.__file__).parents[1] / "figures/gallery/angles/record.json").read_text())
    settings = committed["header"]["settings"]
    stated = Analyzer("bundled", **asked).settings_of(PairOptions)
    assert stated == {name: settings[name] for name in stated}
    assert {f.name for f in fields(PairOptions)} == {*stated, *PLACING}


def test_on_a_gpu_a_record_states_what_each_checkpoint_was_saved_in(two_gpus, checkpoints, tmp_path):
    teacher = models.copy_of(checkpoints / "teacher", tmp_path / "teacher")
    config = json.loads((teacher / "config.json").read_text())
    (teacher / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    student = str(checkpoints / "student")

    def stated(**asked):
        settings = Analyzer(student, teacher=str(teacher), **asked).settings_of(PairOptions)
        return [settings[name] for name in ("dtype", "teacher_dtype", "device")]

    assert stated() == ["float32", "bfloat16", "cuda"]
    assert stated(teacher_device="cpu") == ["float32", None, "cuda"]
    assert stated(dtype="bfloat16") == ["bfloat16", None, "cuda"]
    assert stated(device="cpu", teacher_dtype="nf4") == ["float32", "nf4", "cpu"]
