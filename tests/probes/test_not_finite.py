"""A model or a step without finite numbers: one line and exit code 2 from each command, no complete record."""

import importlib
import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from cli.vgs import COMMANDS
from probes import Analyzer, stages
from tests import models
from train.__main__ import main as train
from vlm.responses.finite import NotFiniteError

PROBES = [path for path, _ in COMMANDS.values() if path.startswith("probes.") and path != "probes.plan"]


@pytest.fixture(scope="module")
def broken(checkpoints, tmp_path_factory):
    """Copies of the pair whose weights are finite, and whose last norm is so large that hidden states overflow."""
    folder = tmp_path_factory.mktemp("broken")
    for side in ("student", "teacher"):
        path = models.copy_of(checkpoints / side, folder / side) / "model.safetensors"
        weights = load_file(path)
        next(value for name, value in weights.items() if name.endswith("language_model.norm.weight")).fill_(3e38)
        save_file(weights, path, metadata={"format": "pt"})
    return folder


def complaint(main, argv, capsys):
    assert main([str(word) for word in argv]) == 2
    shown = capsys.readouterr()
    [line] = [text for text in shown.err.splitlines() if text.startswith("error: ")]
    assert "not finite" in line and "Traceback" not in shown.err
    return line


def pair(student, teacher):
    return [student, "--teacher", teacher, "--limit", "4", "--max-response", "3", "--bins", "2"]


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("side", ["student", "teacher"])
def test_every_probe(here, checkpoints, broken, capsys, name, side):
    sides = {name: checkpoints / name for name in ("student", "teacher")} | {side: broken / side}
    main = importlib.import_module(name).main
    if name == "probes.accuracy":
        if side == "student":
            complaint(main, [sides["student"], "--limit", "2"], capsys)
        return
    argv = pair(*sides.values())
    line = complaint(main, [argv[0], *([argv[0]] if name == "probes.compare" else []), *argv[1:]], capsys)
    assert f"/{side}, in float32" in line
    records = [json.loads(path.read_text()) for path in (here / "runs").glob("*/record.json")]
    assert not any(record["complete"] for record in records)


@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize("extra", [(), ("--evaluate-every", "0"), ("--objective", "grpo")])
def test_training_before_its_first_step(here, checkpoints, broken, capsys, side, extra):
    sides = {name: checkpoints / name for name in ("student", "teacher")} | {side: broken / side}
    argv = ["--student", sides["student"], "--teacher", sides["teacher"], "--max-response", "3", "--held-out", "2"]
    assert f"/{side}," in complaint(train, [*argv, "--batch", "2", "--steps", "1", *extra], capsys)
    assert not (here / "runs").exists()


@pytest.fixture
def analyzer(checkpoints):
    options = {"limit": 8, "max_response": 4, "bins": 2}
    return Analyzer(str(checkpoints / "student"), teacher=str(checkpoints / "teacher"), **options)


@pytest.fixture
def exploding(analyzer):
    """The analyzer, with a layer whose gradient overflows while its output is as it was."""
    layer = analyzer.pair.student.model.model.language_model.layers[0].mlp.down_proj
    layer.register_full_backward_pre_hook(lambda module, grads: tuple(g * math.inf for g in grads))
    layer.register_forward_hook(lambda module, inputs, output: output.requires_grad_() if output.is_leaf else output)
    return analyzer


@pytest.mark.parametrize("unit", ["token", "corpus-bin"])
def test_gradients_that_overflow_leave_no_complete_record(exploding, unit, tmp_path):
    exploding.folder = tmp_path
    with pytest.raises(NotFiniteError, match=r"/student, in float32, gives gradients that are not finite"):
        exploding.angles(per_bin=2, unit=unit)
    assert not json.loads((tmp_path / "record.json").read_text())["complete"]


def test_a_direction_that_overflows(exploding):
    first, _ = stages.halves(exploding.tokens, 0)
    with pytest.raises(NotFiniteError, match="gradients that are not finite"):
        stages.first_order.descent(exploding, first, {"visual": 1.0})


def test_a_trial_at_a_rate_that_destroys_the_student_passes_nothing(analyzer):
    before = [p.detach().clone() for p in analyzer.pair.student.model.parameters()]
    with pytest.raises(NotFiniteError, match=r"`lr` 1e\+30 may be too large, give a smaller one: after its steps"):
        analyzer.diagnose(per_bin=2, skip_geometry=True, lr=1e30, trial_steps=2, shown=0)
    after = analyzer.pair.student.model.parameters()
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_a_teacher_that_rules_out_an_id(analyzer):
    """A divergence to it is infinite, which no mean over a bin says."""

    def without(module, inputs, output):
        return output.index_fill(-1, torch.arange(8, 40), -math.inf)

    analyzer.pair.teacher.model.get_output_embeddings().register_forward_hook(without)
    with pytest.raises(NotFiniteError, match=r"response .*/0: `teacher_image` must mask"):
        analyzer.vds()
