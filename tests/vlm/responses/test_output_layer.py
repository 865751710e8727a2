"""Models without an output layer, or with one that is no matrix, are refused in one line by every command."""

from importlib import import_module

import pytest
from torch import nn
from transformers import Qwen3VLForConditionalGeneration

from tests import models
from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel
from vlm.responses.output_layer import head_of

COMMANDS = ["accuracy", "angles", "compare", "diagnose", "layers", "norms", "sensitivity", "support", "vds"]


@pytest.mark.parametrize("command", [*(f"probes.{name}" for name in COMMANDS), "train.__main__"])
def test_every_command_refuses_a_model_without_one(checkpoints, tmp_path, monkeypatch, capsys, command):
    monkeypatch.setattr(Qwen3VLForConditionalGeneration, "get_output_embeddings", lambda model: None)
    student, teacher = str(checkpoints / "student"), ["--teacher", str(checkpoints / "teacher")]
    given = ["--student", student] if command.startswith("train") else [student]
    given += [student] if command == "probes.compare" else []
    given += [] if command == "probes.accuracy" else teacher
    assert import_module(command).main([*given, "--out", str(tmp_path / "out")]) == 2
    [line] = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error")]
    assert "must have an output layer with a matrix of weights, got none: Qwen3VLForConditionalGeneration" in line
    assert command == "probes.accuracy" or not (tmp_path / "out").exists()  # it opens its record first


@pytest.mark.parametrize(("layer", "named"), [(nn.Sequential(nn.Linear(2, 3)), "Sequential"), (nn.Tanh(), "Tanh")])
def test_other_layers_are_named(checkpoints, layer, named):
    loaded = models.load(checkpoints).student
    loaded.model.set_output_embeddings(layer)
    other = LoadedModel(loaded.name, loaded.model, loaded.processor, "")
    for call in (lambda: other.n_ids, lambda: other.banned_ids, lambda: head_of(other, 9)):
        with pytest.raises(CheckpointError, match=f"must have .* got {named}") as caught:
            call()
        assert "\n" not in str(caught.value)
