"""Adapters: what is trained, what a checkpoint holds, and how a run with them continues."""

import os
import re
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from cli.errors import OptionError
from records.journal import read_journal
from tests.train.small import batch, flags, learner, small, watch
from tests.train.test_loop import Killed, lines, resolve
from train.__main__ import main
from train.config import Config
from train.gradients import batch_grams
from train.learner import Learner
from train.loop import train
from train.models import prepare_student
from train.step import summed_gradient
from vlm.checkpoints.pair import load_pair
from vlm.families import language_layers

pytest.importorskip("peft")
LAYERS = ["mlp.down_proj", "mlp.gate_proj", "mlp.up_proj"] + [f"self_attn.{part}_proj" for part in "koqv"]


def adapted(checkpoints, **changes):
    """A learner whose student has adapters, and these; B is drawn, as after some steps."""
    config = small(checkpoints, lora_rank=2, **changes)
    found = learner(config)
    pair, adapters = prepare_student(found.pair, config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in adapters.parameters.items():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return Learner(pair, config, found.optimizer, found.accelerator), adapters


@pytest.fixture(scope="module")
def whole(checkpoints, tmp_path_factory):
    """A run that nothing stopped."""
    return train(small(checkpoints, out=str(tmp_path_factory.mktemp("runs") / "whole"), lora_rank=2, lr=1e-2))


def test_every_linear_layer_of_attention_and_mlp_has_one_and_all_else_is_frozen(checkpoints):
    found, adapters = adapted(checkpoints)
    assert [name.rpartition(".")[2] for name in adapters.layers].count("q_proj") == 2
    assert set(adapters.layers) == {f"model.language_model.layers.{n}.{layer}" for n in (0, 1) for layer in LAYERS}
    assert len(adapters.parameters) == 2 * len(adapters.layers) and all("lora_" in name for name in adapters.parameters)
    assert {id(p) for p in found.parameters} == {id(p) for p in adapters.parameters.values()}
    assert not any(module.training for module in found.pair.student.model.modules())


def test_the_groups_of_a_journal_are_the_layers_they_are_in(checkpoints):
    found, adapters = adapted(checkpoints)
    groups = found.pair.student.groups
    assert list(groups) == ["layer_00", "layer_01"]
    assert {id(p) for group in groups.values() for p in group} == {id(p) for p in adapters.parameters.values()}
    grams = batch_grams(found, batch(found))
    assert set(grams) == {"layer_00", "layer_01"} and all(gram.norm("standard") > 0 for gram in grams.values())


def test_the_gradient_is_that_of_the_merged_weights_in_the_adapters(checkpoints):
    """By the chain rule: dL/dB = s dL/dW A', dL/dA = s B' dL/dW."""
    found, adapters = adapted(checkpoints, eta="none")
    made = batch(found)
    names = list(adapters.parameters)
    own = dict(zip(names, summed_gradient(found, made, watch()).gradient, strict=True))
    plain = learner(replace(found.config, lora_rank=0))
    plain.pair.student.model.load_state_dict(adapters.merged())
    every = [name for name, p in plain.pair.student.model.named_parameters() if p.requires_grad]
    full = dict(zip(every, summed_gradient(plain, made, watch()).gradient, strict=True))
    length = max(float(g.norm()) for g in own.values())
    for layer in adapters.layers:
        a, b = (adapters.parameters[f"{layer}.lora_{side}.default.weight"].detach() for side in "AB")
        w = 2 * full[f"{layer}.weight"]
        for side, expected in (("A", b.T @ w), ("B", w @ a.T)):
            gap = (own[f"{layer}.lora_{side}.default.weight"] - expected).norm()
            assert gap < 1e-5 * length


def test_a_checkpoint_is_read_as_any_pair_and_computes_what_the_adapted_model_does(checkpoints, whole):
    first, last = (load_file(folder / "model.safetensors") for folder in (checkpoints / "student", whole / "last"))
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    assert first.keys() == last.keys()
    assert moved == {f"model.language_model.layers.{n}.{layer}.weight" for n in (0, 1) for layer in LAYERS}
    config = small(checkpoints, lora_rank=2)
    pair, adapters = prepare_student(load_pair(config.student, config.teacher), config)
    adapters.load(torch.load(whole / "last" / "training.pt", weights_only=True)["adapters"])
    ids = torch.tensor([[20, 21, 22, 23]])
    with torch.no_grad():
        ours, theirs = (p.student.model(input_ids=ids).logits for p in (pair, load_pair(str(whole / "last"))))
        untrained = load_pair(config.student, config.teacher).student.model(input_ids=ids).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (ours - untrained).abs().max() > 1e-2


def test_saving_leaves_the_base_weights_as_they_are(checkpoints):
    found, adapters = adapted(checkpoints)
    first = load_file(checkpoints / "student" / "model.safetensors")
    merged = adapters.merged()
    for name, weight in found.pair.student.model.state_dict().items():
        if ".base_layer." in name:
            plain = name.replace(".base_layer.", ".")
            assert torch.equal(weight, first[plain]) and not torch.equal(merged[plain], first[plain])


def test_the_journal_measures_the_adapters(whole):
    found = read_journal(whole)
    assert [line.skipped for line in found.steps] == [False] * 4
    assert all(set(line.group_norms) == {"layer_00", "layer_01"} for line in found.geometry)
    assert all(line.norms["all"] == line.norms["language_model"] for line in found.geometry)
    assert found.evaluations[-1].losses != found.evaluations[0].losses


@pytest.fixture(scope="module")
def short(checkpoints, tmp_path_factory):
    """The pair, its student saved in bfloat16."""
    folder = tmp_path_factory.mktemp("short")
    pair = load_pair(str(checkpoints / "student"), str(checkpoints / "teacher"))
    for loaded, name in zip(pair.models, ("student", "teacher"), strict=True):
        loaded.model.bfloat16().save_pretrained(folder / name)
        loaded.processor.save_pretrained(folder / name)
    return folder


def base_dtypes(checkpoints):
    config = small(checkpoints, lora_rank=2, dtype="bfloat16")
    pair, adapters = prepare_student(load_pair(config.student, config.teacher), config)
    assert all(parameter.dtype == torch.float32 for parameter in adapters.parameters.values())
    assert pair.student.model.get_input_embeddings().weight.dtype == torch.float32
    return {layer.get_base_layer().weight.dtype for layer in adapters.layers.values()}


def test_frozen_weights_are_held_in_bfloat16_where_that_changes_none(checkpoints, short):
    assert base_dtypes(short) == {torch.bfloat16} and base_dtypes(checkpoints) == {torch.float32}


def test_holding_weights_in_bfloat16_changes_no_number(short, tmp_path, monkeypatch):
    flags = {"lora_rank": 2, "lr": 1e-2, "dtype": "bfloat16", "steps": 2, "geometry_every": 1}
    held = train(small(short, out=str(tmp_path / "held"), **flags))
    monkeypatch.setattr("train.adapters._hold_exactly", lambda layers: None)
    wide = train(small(short, out=str(tmp_path / "wide"), **flags))
    assert lines(held) == lines(wide)
    ours, theirs = (load_file(folder / "last" / "model.safetensors") for folder in (held, wide))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert all(ours[name].dtype == theirs[name].dtype for name in theirs)


def test_the_seed_draws_the_adapters(checkpoints):
    def drawn(seed):
        torch.rand(seed)  # whatever the global generator's state
        config = small(checkpoints, lora_rank=2, seed=seed)
        _, adapters = prepare_student(load_pair(config.student, config.teacher), config)
        return torch.cat([p.flatten() for name, p in adapters.parameters.items() if "lora_A" in name])

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))


POINTS = [
    ("train.loop.update", 3),
    ("train.checkpoint.torch.save", 2),
    ("train.checkpoint._write_pair", 2),
    ("train.checkpoint._link", 3),
    ("train.loop.evaluation_line", 3),
]


@pytest.mark.parametrize(("place", "call"), POINTS)
def test_a_run_stopped_anywhere_continues_bit_by_bit(checkpoints, whole, tmp_path, monkeypatch, place, call):
    config = small(checkpoints, out=str(tmp_path / "run"), lora_rank=2, lr=1e-2)
    calls, real = [], resolve(place)

    def stop(*args, **kwargs):
        calls.append(place)
        if len(calls) == call:
            raise Killed
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(place, stop)
        with pytest.raises(Killed):
            train(config)
    train(replace(config, resume=True))
    assert lines(tmp_path / "run") == lines(whole)
    for name in ("last", "best"):
        assert os.readlink(tmp_path / "run" / name) == os.readlink(whole / name)
        ours, theirs = (load_file(folder / name / "model.safetensors") for folder in (tmp_path / "run", whole))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs) and ours.keys() == theirs.keys()
    ours, theirs = (torch.load(f / "last" / "training.pt", weights_only=True) for f in (tmp_path / "run", whole))
    held = theirs["adapters"]["weights"]
    assert held and all(torch.equal(ours["adapters"]["weights"][name], weight) for name, weight in held.items())
    for number, state in theirs["optimizer"]["state"].items():
        assert all(torch.equal(ours["optimizer"]["state"][number][key], value) for key, value in state.items())


@pytest.mark.parametrize("changes", [("--lora-rank", "3"), ("--lora-rank", "0"), ("--lora-targets", "mlp")])
def test_other_adapters_are_refused_even_if_overridden(checkpoints, whole, capsys, changes):
    given = flags(small(checkpoints, out=str(whole), lora_rank=2, lr=1e-2, steps=5))
    before = (whole / "config.json").read_bytes()
    assert main([*given, "--resume", "--override", *changes]) == 2
    [line] = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error")]
    assert "`lora_rank`" in line and "choose another `--out`" in line
    (whole / "config.json").write_bytes(before)


def test_a_run_without_adapters_is_not_continued_with_them(checkpoints, tmp_path):
    config = small(checkpoints, out=str(tmp_path / "run"), steps=1, evaluate_every=0, geometry_every=0)
    train(config)
    assert main([*flags(config), "--resume", "--override", "--lora-rank", "2"]) == 2


def test_targets_are_chosen_by_name(checkpoints):
    config = small(checkpoints, lora_rank=2, lora_targets=r"layers\.1\..*[qv]_proj")
    _, adapters = prepare_student(load_pair(config.student, config.teacher), config)
    assert set(adapters.layers) == {f"model.language_model.layers.1.self_attn.{part}_proj" for part in "qv"}


@pytest.mark.parametrize(
    ("pattern", "named"),
    [("visual", "`lora_targets` must find one of 14 linear layers, the first model"), ("(", "must be a regular expr")],
)
def test_targets_that_are_none_are_refused(checkpoints, pattern, named):
    config = small(checkpoints, lora_rank=2, lora_targets=pattern)
    with pytest.raises(OptionError, match=named) as caught:
        prepare_student(load_pair(config.student, config.teacher), config)
    assert "\n" not in str(caught.value)


def test_linear_layers_are_those_of_the_language_model(pair):
    assert len(language_layers(pair.student.model)) == 14
    assert not any("visual" in name or "head" in name for name in language_layers(pair.student.model))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lora_targets": "mlp"}, "`lora_targets` belongs to `lora_rank`"),
        ({"lora_rank": 2, "freeze_vision": True}, "`freeze_vision` belongs to rank 0"),
    ],
)
def test_what_makes_no_sense_together_is_refused(changes, named):
    with pytest.raises(OptionError, match=re.escape(named)) as caught:
        Config(**changes)
    assert "\n" not in str(caught.value)


def test_without_peft_it_is_one_line_before_anything_is_written(checkpoints, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert main(flags(small(checkpoints, out=str(tmp_path / "run"), lora_rank=2))) == 2
    [line] = [text for text in capsys.readouterr().err.splitlines() if "Loading" not in text]
    assert line == "error: `lora_rank` needs peft, which is not installed: pip install 'vgs-geometry[peft]'"
    assert not (tmp_path / "run").exists()
