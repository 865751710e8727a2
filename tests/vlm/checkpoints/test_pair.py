"""Which pairs load, which are refused by which name, and what identifies one."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, Qwen3VLPreTrainedModel

from tests import models
from vlm.checkpoints.adapter_folders import weights_fingerprint
from vlm.checkpoints.checkpoint import CheckpointError, load_model
from vlm.checkpoints.pair import load_pair, pair_of


@pytest.fixture
def student(checkpoints, tmp_path):
    """A copy of the student, to be spoilt."""
    return models.copy_of(checkpoints / "student", tmp_path / "spoilt")


@pytest.fixture
def teacher(checkpoints):
    return str(checkpoints / "teacher")


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refusal(*args, **kwargs):
    with pytest.raises(CheckpointError) as caught:
        load_pair(*map(str, args), **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_pair_holds_what_a_record_needs(pair, checkpoints):
    words = pair.student.processor.tokenizer.get_vocab()
    rows = pair.student.model.get_output_embeddings().weight.shape[0]
    assert pair.n_ids == len(words) < rows
    assert pair.student.visual_ids == (3, 4, 5, 6)
    assert pair.student.banned_ids == (3, 4, 5, 6, *range(len(words), rows))
    assert not pair.student.model.training and not pair.teacher.model.training
    assert all(parameter.requires_grad for parameter in pair.student.model.parameters())
    assert not any(parameter.requires_grad for parameter in pair.teacher.model.parameters())
    described = pair.describe()
    assert described["student"]["name"] == f"{checkpoints.name}/student"
    assert described["teacher"]["fingerprint"] == weights_fingerprint(str(checkpoints / "teacher"))
    assert described["student"]["dtype"] == "float32"
    assert pair.warnings == ()


def test_the_fingerprint_is_of_the_weights_alone(checkpoints, student):
    before = weights_fingerprint(str(checkpoints / "student"))
    edit(student / "config.json", note="changed")
    assert weights_fingerprint(str(student)) == before
    weights = load_file(student / "model.safetensors")
    first = sorted(weights)[0]
    weights[first] = weights[first] + 1e-3
    save_file(weights, student / "model.safetensors", metadata={"format": "pt"})
    assert weights_fingerprint(str(student)) != before


def test_dtypes_of_both_sides(student, teacher):
    pair = load_pair(str(student), teacher, dtype="bfloat16", teacher_dtype="float64")
    assert (pair.student.model.dtype, pair.teacher.model.dtype) == (torch.bfloat16, torch.float64)
    assert "`dtype` must be one of" in refusal(student, teacher, dtype="int7")
    assert "`dtype` int8 is for a teacher, whose weights have no gradients" in refusal(student, teacher, dtype="int8")


def test_pair_json_names_the_teacher(student, teacher):
    path = student / "pair.json"
    assert "`teacher` must be given" in refusal(student)
    path.write_text(json.dumps({"teacher": teacher, "fingerprint": weights_fingerprint(teacher)}))
    assert load_pair(str(student)).teacher.name.endswith("/teacher")
    shutil.copytree(teacher, student.parent / "beside")
    path.write_text(json.dumps({"teacher": "../beside"}))
    assert load_pair(str(student)).teacher.name.endswith("/beside")
    path.write_text(json.dumps({"teacher": teacher, "fingerprint": "0123456789abcdef"}))
    assert "names a teacher with fingerprint 0123456789abcdef, but its weights have" in refusal(student)
    load_pair(str(student), teacher)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"teacher": null}', '{"teacher": 3}', b'{"teacher": "\xff"}'])
def test_a_malformed_pair_json_is_refused(student, content):
    (student / "pair.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert "pair.json must be a JSON object with a text field `teacher`" in refusal(student)


def test_a_missing_checkpoint_is_refused_on_either_side(tmp_path, student, teacher):
    for pair in ((tmp_path / "none", teacher), (tmp_path / "none",), (student, tmp_path / "none")):
        assert f"{tmp_path / 'none'} is neither a checkpoint folder nor on the hub" in refusal(*pair)


def test_a_text_only_model_is_refused(tmp_path, teacher):
    LlamaConfig(vocab_size=8, hidden_size=8, num_attention_heads=1).save_pretrained(tmp_path)
    assert "must read images and text, but llama is text-only" in refusal(tmp_path, teacher)


def test_weights_are_read_from_safetensors_only(student, teacher):
    weights = student / "model.safetensors"
    torch.save(load_file(weights), student / "pytorch_model.bin")
    weights.unlink()
    assert "no file named model.safetensors" in refusal(student, teacher)


def test_broken_weights_are_refused(student, teacher):
    weights = load_file(student / "model.safetensors")
    name = sorted(weights)[3]
    lacking = {key: value for key, value in weights.items() if key != name}
    save_file(lacking, student / "model.safetensors", metadata={"format": "pt"})
    assert f"lacks the weights {name}" in refusal(student, teacher)
    save_file(lacking | {name: torch.zeros(3)}, student / "model.safetensors", metadata={"format": "pt"})
    assert f"holds {name} of shape (3,), and its config wants {tuple(weights[name].shape)}" in refusal(student, teacher)
    (student / "model.safetensors").write_bytes(b"no weights")
    assert "cannot be loaded" in refusal(student, teacher)


@pytest.mark.parametrize("name", ["processor_config.json", "tokenizer.json"])
def test_a_checkpoint_without_its_processor_is_refused(student, teacher, name):
    (student / name).unlink()
    assert "cannot be loaded" in refusal(student, teacher)


def test_a_checkpoint_without_a_chat_template_is_refused(student, teacher):
    (student / "chat_template.jinja").unlink()
    assert "has no chat template" in refusal(student, teacher)


def test_a_chat_template_that_the_tokenizer_alone_holds_is_used(student, teacher):
    written = load_pair(str(student), str(teacher)).student.processor.chat_template
    (student / "chat_template.jinja").unlink()
    edit(student / "tokenizer_config.json", chat_template=written)
    assert load_pair(str(student), str(teacher)).student.processor.chat_template == written


def test_a_family_without_fast_attention_is_told_to_use_the_other(student, teacher, monkeypatch):
    monkeypatch.setattr(Qwen3VLPreTrainedModel, "_supports_sdpa", False)
    assert "have no `attention` of the kind that was asked for): use eager" in refusal(student, teacher)
    assert load_pair(str(student), str(teacher), attention="eager")


def test_a_mark_of_pictures_that_is_used_as_padding_stays_one(student, teacher):
    edit(student / "tokenizer_config.json", pad_token="<|video_pad|>")
    pair = load_pair(str(student), teacher)
    assert pair.student.processor.tokenizer.pad_token_id in pair.student.visual_ids == (3, 4, 5, 6)
    assert any("pad_token_id" in warning for warning in pair.warnings)


@pytest.mark.parametrize("device", ["cuda:99", "meta", "nowhere"])
def test_an_unusable_device_is_refused(student, teacher, device):
    assert f"`device` '{device}' cannot be used" in refusal(student, teacher, device=device)


def test_another_vocabulary_is_refused(student, teacher):
    path = student / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.get)
    vocabulary["zebra"] = vocabulary.pop(last)
    path.write_text(json.dumps(content))
    said = refusal(student, teacher)
    n = (
        len(vocabulary)
        + len(content["added_tokens"])
        - sum(t["content"] in vocabulary for t in content["added_tokens"])
    )
    assert (
        f"the tokenizers must agree, but `vocab` differs at id {vocabulary['zebra']}: 'zebra' for the student" in said
    )
    assert f"{n - 1} of {n} ids are the same token" in said


@pytest.mark.parametrize("field", ["pad_token", "unk_token", "bos_token"])
def test_other_special_ids_that_enter_no_score_are_notes(student, teacher, field):
    content = json.loads((student / "tokenizer_config.json").read_text())
    edit(student / "tokenizer_config.json", **{field: "<|im_start|>"})
    other = {"pad_token": 0, "unk_token": 7, "bos_token": None}[field]
    assert content.get(field) != "<|im_start|>"
    (note,) = load_pair(str(student), teacher).warnings
    assert note == f"`{field}_id` is 1 for the student and {other} for the teacher; it enters no score"


def test_other_visual_ids_are_refused(checkpoints):
    found = models.load(checkpoints)
    vars(found.student)["visual_ids"] = (3, 4, 5)
    with pytest.raises(CheckpointError, match=r"`visual token ids` is \(3, 4, 5\) for the student"):
        pair_of(found.student, found.teacher)


def test_an_ordinary_word_is_no_picture_whatever_a_config_says(student, teacher):
    edit(student / "config.json", video_token_id=40)
    assert load_pair(str(student), teacher).student.visual_ids == (3, 4, 5, 6)


def test_other_templates_and_preprocessing_are_warnings(student, teacher):
    template = student / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    path = student / "processor_config.json"
    content = json.loads(path.read_text())
    content["image_processor"]["image_mean"] = [0.4] * 3
    path.write_text(json.dumps(content))
    templates, preprocessing = load_pair(str(student), teacher).warnings
    assert "the chat templates differ" in templates
    assert "the image preprocessing differs in image_mean" in preprocessing


def test_a_tokenizer_without_padding_pads_with_its_end(student):
    edit(student / "tokenizer_config.json", pad_token=None)
    tokenizer = load_model(str(student)).processor.tokenizer
    assert tokenizer.pad_token_id == tokenizer.eos_token_id


def test_a_pattern_chooses_what_is_measured(student, teacher):
    pair = load_pair(str(student), teacher, parameters=r"layers\.1\..*_proj")
    trained = [name for name, parameter in pair.student.model.named_parameters() if parameter.requires_grad]
    assert trained and all("layers.1." in name and "_proj" in name for name in trained)
    assert list(pair.student.groups) == ["layer_01"]
    assert len(pair.student.groups["layer_01"]) == len(trained)


@pytest.mark.parametrize(("pattern", "said"), [("(", "a regular expression"), ("visual", "of the language model")])
def test_a_pattern_that_finds_nothing_is_refused(student, teacher, pattern, said):
    assert said in refusal(student, teacher, parameters=pattern)
