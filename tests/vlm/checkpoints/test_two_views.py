"""What cannot read one response with a picture and without is refused by name, with the reason."""

import json

import pytest
import torch
import transformers

from tests import models
from tests.families.build import build
from tests.families.registry import FAMILIES
from tests.families.tokenizers import STUDENT
from vlm.checkpoints.checkpoint import CheckpointError, check_vision, in_precision, load_model, model_in_memory


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        load_model(str(folder))
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["Florence2Config", "T5Gemma2Config", "Pix2StructConfig"])
def test_an_encoder_for_the_prompt(tmp_path, kind):
    getattr(transformers, kind)().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="cannot have two views: .* has an encoder for the prompt and a decoder"):
        check_vision(str(tmp_path))


def test_a_template_that_shows_no_picture(checkpoints, tmp_path):
    folder = models.copy_of(checkpoints / "student", tmp_path / "student")
    path = folder / "chat_template.jinja"
    written = path.read_text()
    assert "<|image_pad|>" in written
    path.write_text(written.replace("<|vision_start|>", "").replace("<|image_pad|>", "").replace("<|vision_end|>", ""))
    assert "cannot have two views: the processor refuses a prompt: " in refusal(folder)


def test_a_template_that_always_shows_one(checkpoints, tmp_path):
    folder = models.copy_of(checkpoints / "student", tmp_path / "student")
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text() + "{% if messages[0].content | length == 1 %}<|image_pad|>{% endif %}")
    assert "cannot have two views" in refusal(folder)


def test_a_processor_that_always_wants_a_picture(tmp_path):
    build(tmp_path, ["paligemma_chat"])
    assert "cannot have two views: the processor refuses a prompt: `images` are expected" in refusal(
        tmp_path / "paligemma_chat" / "student"
    )


def test_a_config_that_does_not_fit_the_processor(tmp_path):
    """Each of the two is read without a fault, and the first pass would fail."""
    build(tmp_path, ["llava"])
    for side, file, name in (
        ("student", "processor_config.json", "patch_size"),
        ("teacher", "config.json", "image_token_index"),
    ):
        path = tmp_path / "llava" / side / file
        settings = json.loads(path.read_text())
        assert name in settings, sorted(settings)
        path.write_text(json.dumps(settings | {name: 7}))
        assert "fails on a prompt with a picture: Image features and image tokens do not match" in refusal(path.parent)


def test_rows_of_a_batch_that_change_each_other(checkpoints, monkeypatch):
    """As where pictures are numbered through a batch: the second row is not read as it would be alone."""
    forward = transformers.Qwen3VLForConditionalGeneration.forward

    def numbered(self, **inputs):
        output = forward(self, **inputs)
        output.logits = output.logits + 0.05 * torch.arange(len(output.logits))[:, None, None] * output.logits
        return output

    monkeypatch.setattr(transformers.Qwen3VLForConditionalGeneration, "forward", numbered)
    assert "must read a row of a batch as it would alone" in refusal(checkpoints / "student")


def test_a_model_in_memory_is_refused_for_the_same_reason():
    with pytest.raises(CheckpointError, match="`checkpoint` mine cannot have two views"):
        model_in_memory(*FAMILIES["paligemma_chat"].build(STUDENT), "mine")
    model, processor = FAMILIES["qwen3_vl_moe"].build(STUDENT)
    assert model.config._experts_implementation != "eager"
    loaded = model_in_memory(model, processor)
    assert loaded.model.get_decoder().config._experts_implementation == "eager"


def test_experts_have_every_precision_and_forward_mode(tmp_path):
    build(tmp_path, ["qwen3_vl_moe"])
    folder = tmp_path / "qwen3_vl_moe" / "student"
    assert "eager" not in json.loads((folder / "config.json").read_text()).values()
    loaded = in_precision(load_model(str(folder)), "float64")
    parameters = dict(loaded.model.named_parameters())
    experts = {name: p for name, p in parameters.items() if "experts" in name}

    def run(changed):
        ids = torch.tensor([[40, 50, 60]])
        return torch.func.functional_call(loaded.model, changed, (), {"input_ids": ids, "use_cache": False}).logits

    along = ({name: torch.ones_like(p) for name, p in experts.items()},)
    with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        logits, tangent = torch.func.jvp(run, (experts,), along)
    assert experts and logits.dtype is torch.float64 and tangent.abs().max() > 0
