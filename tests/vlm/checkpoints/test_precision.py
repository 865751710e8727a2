"""Dtypes: what auto stands for, and what transformers is told of 8 and 4 bits."""

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForImageTextToText

from tests import models
from vlm.checkpoints import attention, precision
from vlm.checkpoints.checkpoint import CheckpointError, load_model
from vlm.checkpoints.pair import NamedTeacher, load_teacher
from vlm.checkpoints.places import locate
from vlm.checkpoints.precision import own_dtype, settled_dtype

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def student(checkpoints, tmp_path):
    return models.copy_of(checkpoints / "student", tmp_path / "student")


@pytest.mark.parametrize(
    ("written", "dtype"),
    [
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"torch_dtype": "torch.float16"}, "float16"),
        ({"text_config": {"dtype": "bfloat16"}}, "bfloat16"),
        ({"dtype": "float8_e4m3fn"}, "bfloat16"),
        ({"dtype": None}, "float32"),
        ({}, "float32"),
    ],
)
def test_auto_is_the_checkpoint_s_own_on_a_gpu_and_float32_on_the_cpu(tmp_path, written, dtype):
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert own_dtype(locate(str(tmp_path))) == dtype
    assert settled_dtype("auto", GPU, lambda: locate(str(tmp_path))) == dtype
    assert settled_dtype("auto", CPU, lambda: pytest.fail("looked at")) == "float32"
    assert settled_dtype("float16", GPU, lambda: pytest.fail("looked at")) == "float16"


def test_a_checkpoint_in_bfloat16_is_float32_on_the_cpu(student):
    config = json.loads((student / "config.json").read_text())
    (student / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    assert load_model(str(student), device="cpu").dtype_name == "float32"
    assert load_model(str(student), device="cpu", dtype="bfloat16").describe()["dtype"] == "bfloat16"


@pytest.fixture
def told(monkeypatch):
    """What transformers is told, by a machine that says it has bitsandbytes; the model is loaded as it is."""
    seen = {}
    load = AutoModelForImageTextToText.from_pretrained

    def note(*args, quantization_config=None, device_map=None, **settings):
        seen.update(quantization_config=quantization_config, device_map=device_map, dtype=settings["dtype"])
        return load(*args, **settings)

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", note)
    monkeypatch.setattr(precision, "find_spec", lambda name: SimpleNamespace())
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.49.0")
    return seen


@pytest.mark.parametrize(("dtype", "bits"), [("int8", 8), ("nf4", 4)])
def test_a_teacher_in_few_bits_is_loaded_by_bitsandbytes_onto_its_device(checkpoints, told, dtype, bits):
    loaded = load_teacher(NamedTeacher(str(checkpoints / "teacher")), dtype=dtype, device="cpu")
    config = told["quantization_config"]
    assert (config.load_in_8bit, config.load_in_4bit) == (bits == 8, bits == 4)
    assert bits == 8 or (config.bnb_4bit_quant_type, config.bnb_4bit_compute_dtype) == ("nf4", torch.bfloat16)
    assert told["device_map"] == {"": CPU} and told["dtype"] == torch.bfloat16
    assert loaded.describe()["dtype"] == dtype
    assert loaded.fingerprint == load_model(str(checkpoints / "teacher")).fingerprint


def test_a_teacher_over_several_devices_is_laid_out_by_accelerate(checkpoints, told):
    load_teacher(NamedTeacher(str(checkpoints / "teacher")), device="cpu", spread=True)
    assert told["device_map"] == "auto" and told["quantization_config"] is None


def test_a_model_on_several_devices_takes_its_inputs_at_the_first_that_computes(checkpoints):
    loaded = load_model(str(checkpoints / "teacher"))
    assert (loaded.device, loaded.is_spread) == (CPU, False)
    loaded.model.hf_device_map = {"visual": "cpu", "layers.0": 0, "layers.1": 1, "head": "disk"}
    assert (loaded.device, loaded.is_spread) == (torch.device("cuda", 0), True)
    assert loaded.running.endswith("on cpu and cuda:0 and cuda:1 and disk")


@pytest.mark.skipif(precision.find_spec("bitsandbytes") is not None, reason="needs a machine without bitsandbytes")
def test_without_bitsandbytes_the_extra_is_named(checkpoints):
    with pytest.raises(CheckpointError, match=r"`teacher_dtype` .*int8 needs bitsandbytes|vgs-geometry\[quantised\]"):
        load_teacher(NamedTeacher(str(checkpoints / "teacher")), dtype="int8")


@pytest.mark.parametrize(
    "name", ["kernels-community/flash-attn", "me/mine@v1:forward", "flash_attention_2", "flash_attention_9"]
)
def test_attention_that_is_not_installed_or_on_the_hub_is_refused(checkpoints, monkeypatch, name):
    monkeypatch.setattr(attention.utils, "is_flash_attn_2_available", lambda: False)
    with pytest.raises(CheckpointError) as caught:
        load_model(str(checkpoints / "student"), attention=name)
    assert str(caught.value).startswith("`attention` ") and "\n" not in str(caught.value)


def test_a_name_that_transformers_refuses_is_one_line(checkpoints):
    with pytest.raises(CheckpointError) as caught:
        load_model(str(checkpoints / "student"), attention="fast")
    assert "`attention`" in str(caught.value) and "\n" not in str(caught.value)
