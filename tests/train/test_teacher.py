"""Where the teacher of a run is and in which dtype: what it costs to be elsewhere is no number."""

import json

import accelerate
import pytest
import torch
from accelerate import Accelerator

from cli.errors import OptionError
from records import read_journal
from records.run_folder import CONFIG
from tests.host_and_device import DEVICE, HostAndDevice
from tests.train.small import batch, flags, learner, small, watch
from train import train
from train.__main__ import main, parse
from train.config import Config
from train.plan import plan_of
from train.step import summed_gradient
from train.teacher import teacher_views
from vlm.checkpoints.pair import load_pair
from vlm.checkpoints.places import CheckpointError

EVERY = {"steps": 1, "evaluate_every": 1, "geometry_every": 1, "held_out": 2, "batch": 2, "max_response": 3}


def numbers(folder):
    """The journal without its times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def standard_loss(folder):
    (step,) = read_journal(folder).steps
    return step.losses["standard"]


@pytest.mark.parametrize(
    "placed",
    [
        {"teacher_device": "cpu"},
        {"device_map": "auto"},
        {"teacher_device": "cpu", "objective": "off-policy"},
    ],
)
def test_wherever_the_teacher_is_the_run_is_the_same(checkpoints, tmp_path, monkeypatch, placed):
    """The student is on a device; the teacher is on the CPU, or where accelerate lays it out."""
    here = {**EVERY, **{name: placed[name] for name in placed if name == "objective"}}
    plain = train(small(checkpoints, out=str(tmp_path / "plain"), **here))
    monkeypatch.setattr(Accelerator, "device", torch.device(DEVICE))
    with HostAndDevice():
        other = train(small(checkpoints, out=str(tmp_path / "other"), **EVERY | placed))
    assert numbers(plain) == numbers(other)
    said = [json.loads((folder / CONFIG).read_text()) for folder in (plain, other)]
    assert said[0] == said[1]


def test_a_teacher_in_another_dtype_is_another_run(checkpoints, tmp_path, capsys):
    wide, same = (
        train(small(checkpoints, out=str(tmp_path / (dtype or "none")), teacher_dtype=dtype, **EVERY))
        for dtype in ("bfloat16", None)
    )
    said = capsys.readouterr().err
    assert "teacher bfloat16, " in said and "models: student float32, sdpa attention, on cpu, runs in float32" in said
    assert json.loads((wide / CONFIG).read_text())["settings"]["teacher_dtype"] == "bfloat16"
    assert "teacher_dtype" not in json.loads((same / CONFIG).read_text())["settings"]
    losses = [standard_loss(folder) for folder in (wide, same)]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.2)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_a_step_under_a_teacher_of_any_dtype(checkpoints, dtype):
    found = learner(small(checkpoints))
    expected = summed_gradient(found, batch(found), watch())
    other = learner(small(checkpoints, teacher_dtype=dtype))
    pair = load_pair(other.config.student, other.config.teacher, teacher_dtype=dtype)
    other.pair.__dict__["teacher"] = pair.teacher
    summed = summed_gradient(other, batch(other), watch())
    assert summed.loss == pytest.approx(expected.loss, rel=0.02)
    assert [g.dtype for g in summed.gradient] == [g.dtype for g in expected.gradient]


def test_autocast_leaves_a_teacher_with_a_dtype_of_its_own_alone(checkpoints, monkeypatch):
    """The student runs in bfloat16; only a teacher without a dtype runs in it too."""
    monkeypatch.setattr(Accelerator, "autocast", lambda self: torch.autocast("cpu", torch.bfloat16))
    found = learner(small(checkpoints))
    responses = batch(found).responses
    plain = teacher_views(found, responses)
    with torch.autocast("cpu", torch.bfloat16):
        own = teacher_views(learner(small(checkpoints, teacher_dtype="float32")), responses)
    monkeypatch.undo()
    expected = teacher_views(learner(small(checkpoints)), responses)
    assert torch.equal(own.image, expected.image) and not torch.equal(plain.image, expected.image)


def test_a_teacher_whose_layers_wait_in_memory(checkpoints):
    """As accelerate lays out what does not fit: no weight is there but while its layer runs."""
    found = learner(small(checkpoints))
    expected = batch(found)
    gradient = summed_gradient(found, expected, watch()).gradient
    other = learner(small(checkpoints))
    model = other.pair.teacher.model
    accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    model.hf_device_map = {"layers": "cpu", "head": "disk"}
    assert model.get_output_embeddings().weight.device.type == "meta" and other.pair.teacher.is_spread
    made = batch(other)
    assert all(torch.equal(a.image, b.image) for a, b in zip(made.teacher, expected.teacher, strict=True))
    assert other.teacher_head.weight.device.type == "cpu"
    for a, b in zip(summed_gradient(other, made, watch()).gradient, gradient, strict=True):
        torch.testing.assert_close(a, b)


def test_where_the_teacher_is_names_no_run():
    plain = parse([])
    for asked in (["--teacher-device", "cpu"], ["--device-map", "auto"], ["--attention", "sdpa"]):
        assert parse(asked).settings == plain.settings and parse(asked).folder == plain.folder
    for asked in (["--teacher-dtype", "nf4"], ["--attention", "eager"]):
        assert parse(asked).folder != plain.folder


@pytest.mark.parametrize(
    ("argv", "processes", "said"),
    [
        (["--teacher-device", "cpu", "--device-map", "auto"], 1, "both say where the teacher is; leave one out"),
        (["--teacher-device", "xpu:9"], 1, "`teacher_device` 'xpu:9' cannot be used"),
        (["--teacher-device", "gpu"], 2, "`teacher_device` 'gpu' cannot be used"),
        (["--teacher-dtype", "int8"], 1, "`teacher_dtype` int8 needs bitsandbytes"),
        (["--attention", "me/kernel"], 1, "`attention` must be code that is installed"),
        (["--device-map", "auto"], 2, "`device_map` lays the teacher over all accelerators"),
        (
            ["--teacher-device", "cuda:1"],
            2,
            "`teacher_device` must name no number, for each process has its own device",
        ),
    ],
)
def test_what_cannot_be_is_one_line(checkpoints, tmp_path, capsys, monkeypatch, argv, processes, said):
    monkeypatch.setattr("train.models.processes.count", lambda: processes)
    monkeypatch.setattr("vlm.checkpoints.precision.find_spec", lambda name: None)
    assert main([*flags(small(checkpoints, out=str(tmp_path / "run"))), *argv]) == 2
    [line] = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    assert said in line and not (tmp_path / "run").exists()


def test_a_run_goes_on_with_its_teacher_elsewhere(checkpoints, tmp_path):
    folder = train(small(checkpoints, out=str(tmp_path / "run"), **EVERY))
    train(small(checkpoints, out=str(folder), resume=True, teacher_device="cpu", **EVERY | {"steps": 1}))


def test_both_places_at_once_are_refused_from_python():
    with pytest.raises(OptionError, match="`teacher_device` and `device_map`"):
        Config(teacher_device="cpu", device_map="auto")


def test_a_plan_counts_the_teacher_where_and_in_what_it_is(checkpoints):
    def loading(**changes):
        (need,) = (n for n in plan_of(small(checkpoints, **changes), free_gb=100.0).needs if n.phase == "loading")
        return need.parts["weights"]

    both = loading()
    teacher = 2 * (both - loading(teacher_dtype="bfloat16"))
    assert loading(teacher_device="cpu") == loading(device="cpu", teacher_device="auto") == both
    with pytest.raises(CheckpointError, match="`teacher_device` 'xpu:9' cannot be used"):
        loading(teacher_device="xpu:9")
    assert 0 < teacher < both
