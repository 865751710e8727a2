"""Weights that are not those of the config, not whole or not finite are refused by name."""

import json
import shutil

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils import logging

from tests import models
from vlm.checkpoints import weights
from vlm.checkpoints.adapter_folders import weights_fingerprint
from vlm.checkpoints.checkpoint import CheckpointError, check_vision, load_model, model_in_memory, quiet

FILE, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture
def student(checkpoints, tmp_path):
    """A copy of the student, to be spoilt."""
    return models.copy_of(checkpoints / "student", tmp_path / "spoilt")


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refusal(folder, **options):
    with pytest.raises(CheckpointError) as caught:
        load_model(str(folder), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def sharded(folder):
    """Cut the weights into two files with an index; return what the index says."""
    held = load_file(folder / FILE)
    names = sorted(held)
    parts = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({name: held[name] for name in own}, folder / file, metadata={"format": "pt"})
    (folder / FILE).unlink()
    index = {"metadata": {}, "weight_map": {name: file for file, own in parts.items() for name in own}}
    (folder / INDEX).write_text(json.dumps(index))
    return index


def test_weights_that_the_config_does_not_use_are_refused(student):
    """Half of the layers go without a word in transformers; the fingerprint of the weights stays."""
    edit(student / "config.json", lambda config: config["text_config"].update(num_hidden_layers=1))
    said = refusal(student)
    assert "holds 11 weights that its config has no place for, the first model.language_model.layers.1." in said


def test_what_transformers_itself_leaves_out_is_no_fault(student):
    held = load_file(student / FILE)
    held["model.language_model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(3)
    save_file(held, student / FILE, metadata={"format": "pt"})
    load_model(str(student))
    held["model.language_model.layers.0.self_attn.extra"] = torch.ones(3)
    save_file(held, student / FILE, metadata={"format": "pt"})
    assert "holds 1 weights that its config has no place for" in refusal(student)


def test_weights_that_the_config_wants_and_the_files_lack_are_refused(student):
    edit(student / "config.json", lambda config: config["text_config"].update(num_hidden_layers=3))
    assert "lacks the weights model.language_model.layers.2." in refusal(student)


def test_another_shape_is_refused_with_both(student):
    edit(student / "config.json", lambda config: config["text_config"].update(intermediate_size=40))
    said = refusal(student)
    assert "layers.0.mlp.down_proj.weight of shape (24, 32), and its config wants (24, 40)" in said


@pytest.mark.parametrize("part", ["text_config", "vision_config"])
def test_a_part_that_is_null_is_refused_before_a_default_one_is_built(student, part, monkeypatch):
    edit(student / "config.json", lambda config: config.update({part: None}))
    monkeypatch.setattr("vlm.checkpoints.checkpoint._read_model", lambda *_: pytest.fail("built"))
    assert f"has no {part} in its config.json" in refusal(student)
    with pytest.raises(CheckpointError, match=f"has no {part}"):
        check_vision(str(student))


@pytest.mark.parametrize("value", ["x", 3, []])
def test_a_config_that_makes_no_sense_is_one_line(student, value):
    edit(student / "config.json", lambda config: config.update(text_config=value))
    assert "must have an object as text_config in its config.json, got" in refusal(student)


@pytest.mark.parametrize("content", ["{", "[]", "3", b"\xff"])
@pytest.mark.parametrize(
    "file", ["config.json", "generation_config.json", "tokenizer_config.json", "adapter_config.json"]
)
def test_a_broken_file_is_not_passed_over(student, file, content):
    (student / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    refusal(student)


def test_a_config_of_a_far_larger_model_is_refused_before_it_is_built(student, monkeypatch):
    edit(student / "config.json", lambda config: config.pop("text_config"))
    monkeypatch.setattr(
        "vlm.checkpoints.checkpoint.AutoModelForImageTextToText.from_pretrained", lambda *_, **__: pytest.fail("x")
    )
    held = sum(tensor.numel() for tensor in load_file(student / FILE).values())
    said = refusal(student)
    assert "has a config of 11,427,161,536 parameters" in said
    assert f"and weights of {held:,}: it lacks most of them" in said


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_that_are_not_finite_are_refused_by_name(student, value, dtype):
    held = load_file(student / FILE)
    name = "model.language_model.layers.1.mlp.up_proj.weight"
    held[name][3, 5] = value
    save_file(held, student / FILE, metadata={"format": "pt"})
    said = refusal(student, dtype=dtype)
    assert f"has weights that are not finite, the first {name}" in said and f"if {dtype} is too narrow" in said


def test_weights_too_large_for_the_dtype_are_refused(student):
    held = load_file(student / FILE)
    held["model.language_model.norm.weight"][0] = 1e5
    save_file(held, student / FILE, metadata={"format": "pt"})
    assert "the first model.language_model.norm.weight" in refusal(student, dtype="float16")
    load_model(str(student), dtype="bfloat16")


def test_finite_weights_whose_sum_overflows_are_finite():
    layer = torch.nn.Linear(300, 300, dtype=torch.float16)
    torch.nn.init.constant_(layer.weight, 60000.0)
    weights.refuse_not_finite("it", layer)


def test_eight_bit_weights_are_looked_at_too():
    layer = torch.nn.Linear(3, 2, bias=False).to(torch.float8_e4m3fn)
    weights.refuse_not_finite("it", layer)
    layer.weight.data = torch.full((2, 3), torch.nan).to(torch.float8_e4m3fn)
    with pytest.raises(CheckpointError, match="the first weight"):
        weights.refuse_not_finite("it", layer)


def test_buffers_may_be_infinite_but_not_nan():
    layer = torch.nn.Module()
    layer.register_buffer("least", torch.tensor(-torch.inf))
    weights.refuse_not_finite("it", layer)
    layer.least.fill_(torch.nan)
    with pytest.raises(CheckpointError, match="the first least"):
        weights.refuse_not_finite("it", layer)


def test_files_that_the_index_names_are_the_weights(student, checkpoints):
    """Stray files change no fingerprint; a byte of a named file does."""
    sharded(student)
    before = weights_fingerprint(str(student))
    ours, theirs = (load_model(str(folder)).model.state_dict() for folder in (student, checkpoints / "student"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    shutil.copy(checkpoints / "teacher" / FILE, student / "consolidated.safetensors")
    assert weights_fingerprint(str(student)) == before
    held = load_file(student / "two.safetensors")
    held[min(held)].view(-1)[0] += 1e-3
    save_file(held, student / "two.safetensors", metadata={"format": "pt"})
    assert weights_fingerprint(str(student)) != before


@pytest.mark.parametrize(
    "file", ["../two.safetensors", "/etc/two.safetensors", "a/../../b.safetensors", "C:\\x.safetensors"]
)
def test_an_index_that_points_outside_its_folder_is_refused(student, file):
    index = sharded(student)
    shutil.copy(student / "two.safetensors", student.parent / "two.safetensors")
    first = min(index["weight_map"])
    index["weight_map"][first] = file
    (student / INDEX).write_text(json.dumps(index))
    assert f"names weights outside its folder or in another format: {file}" in refusal(student)
    with pytest.raises(CheckpointError, match="outside its folder"):
        weights_fingerprint(str(student))


def test_an_index_that_names_a_missing_file_or_a_pickle_is_refused(student):
    index = sharded(student)
    (student / "two.safetensors").rename(student / "three.safetensors")
    assert "has no file named two.safetensors" in refusal(student)
    torch.save({}, student / "two.bin")
    index["weight_map"][min(index["weight_map"])] = "two.bin"
    (student / INDEX).write_text(json.dumps(index))
    assert "in another format: two.bin" in refusal(student)


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 3}}', "{"])
def test_a_broken_index_is_refused(student, content):
    sharded(student)
    (student / INDEX).write_text(content)
    assert INDEX in refusal(student)


def test_two_sets_of_weights_are_refused(student, checkpoints):
    sharded(student)
    shutil.copy(checkpoints / "student" / FILE, student / FILE)
    assert f"holds two sets of weights, {FILE} and those of {INDEX}" in refusal(student)


def test_a_tensor_in_two_files_is_refused(student):
    sharded(student)
    one, two = (load_file(student / f"{part}.safetensors") for part in ("one", "two"))
    save_file(two | {min(one): one[min(one)]}, student / "two.safetensors", metadata={"format": "pt"})
    assert f"holds {min(one)} in two files" in refusal(student)


def test_weights_that_the_config_names_are_the_ones(student):
    edit(student / "config.json", lambda config: config.update(transformers_weights="other.safetensors"))
    assert "has no file named other.safetensors" in refusal(student)
    before = weights.files_fingerprint(student, [FILE])
    (student / FILE).rename(student / "other.safetensors")
    assert load_model(str(student)).fingerprint != before
    edit(student / "config.json", lambda config: config.update(transformers_weights="../other.safetensors"))
    assert "outside its folder" in refusal(student)


def test_in_memory_every_saved_tensor_counts(checkpoints):
    loaded = load_model(str(checkpoints / "student"))
    model = loaded.model
    seen = {model_in_memory(model, loaded.processor).fingerprint}
    model.register_buffer("scale", torch.tensor(1.0))
    seen.add(model_in_memory(model, loaded.processor).fingerprint)
    model.scale.fill_(2.0)
    seen.add(model_in_memory(model, loaded.processor).fingerprint)
    next(model.parameters()).data.view(-1)[0] += 1
    seen.add(model_in_memory(model, loaded.processor).fingerprint)
    assert len(seen) == 4
    next(model.parameters()).data.view(-1)[0] = torch.nan
    with pytest.raises(CheckpointError, match="`checkpoint` model in memory has weights that are not finite"):
        model_in_memory(model, loaded.processor)


def test_the_hub_s_downloads_keep_their_bars(monkeypatch):
    """Transformers' bars are off, and with them those of downloads, unless they are put on again."""
    quiet()
    assert not logging.is_progress_bar_enabled()
    assert not huggingface_hub.utils.are_progress_bars_disabled()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)
    huggingface_hub.utils.disable_progress_bars()
    quiet()
    assert huggingface_hub.utils.are_progress_bars_disabled()
    huggingface_hub.utils.enable_progress_bars()
