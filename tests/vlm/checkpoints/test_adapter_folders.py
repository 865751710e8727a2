"""A folder of adapters loads as its base with the adapter merged, or is refused as what it is."""

import json
import shutil
import sys
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file

from tests import models
from vlm.checkpoints.adapter_folders import weights_fingerprint
from vlm.checkpoints.checkpoint import CheckpointError, fingerprints, load_model
from vlm.checkpoints.pair import load_pair
from vlm.responses.rollouts import Rollout
from vlm.responses.scoring import view_logits
from vlm.views.view import image_view

TARGETS = r".*language_model.*\.(q_proj|down_proj)"


def make_adapter(base, folder, **settings):
    """Train nothing, draw an adapter at random, and save it as peft does; return the model that has it."""
    model = load_model(str(base)).model
    made = LoraConfig(r=3, lora_alpha=5, target_modules=TARGETS, **settings)
    wrapped = get_peft_model(model, made)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.2)
    wrapped.peft_config["default"].base_model_name_or_path = str(base)
    wrapped.save_pretrained(folder)
    return wrapped


@pytest.fixture
def adapter(checkpoints, tmp_path):
    make_adapter(checkpoints / "student", tmp_path / "adapter")
    return tmp_path / "adapter"


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        load_model(str(folder))
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(" is an adapter") <= 1, "a reason within a reason"
    return str(caught.value)


def edit(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("settings", [{}, {"use_dora": True}, {"use_rslora": True}, {"modules_to_save": ["lm_head"]}])
def test_its_logits_are_those_of_the_model_with_the_adapter(checkpoints, tmp_path, settings):
    with_adapter = make_adapter(checkpoints / "student", tmp_path / "adapter", **settings)
    loaded, base = (load_model(str(folder)) for folder in (tmp_path / "adapter", checkpoints / "student"))
    prompt = next(prompt for prompt in models.scenes(3) if prompt.images)
    responses = [Rollout(prompt.prompt_id, 0, (20, 21, 22, 23), "", truncated=True).token_ids]

    def logits(one):
        return view_logits(one, [image_view(prompt)], responses, base.n_ids)[0]

    ours, plain = logits(loaded), logits(base)
    torch.testing.assert_close(ours, logits(replace(base, model=with_adapter.base_model.model)), rtol=1e-4, atol=1e-4)
    finite = torch.isfinite(plain)
    assert (ours - plain)[finite].abs().max() > 0.1


def test_all_weights_are_plain_ones(adapter, checkpoints, tmp_path):
    loaded = load_model(str(adapter))
    names = [name for name, _ in load_model(str(checkpoints / "student")).model.named_parameters()]
    assert [name for name, _ in loaded.model.named_parameters()] == names
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())
    loaded.model.save_pretrained(tmp_path / "saved")
    loaded.processor.save_pretrained(tmp_path / "saved")
    again = load_model(str(tmp_path / "saved"))
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


def test_either_side_of_a_pair_may_be_one_and_says_so(adapter, checkpoints):
    teacher = str(checkpoints / "teacher")
    pair = load_pair(str(adapter), teacher)
    name = f"{adapter.parent.name}/adapter"
    said = f"{name} is an adapter: merged into {checkpoints.name}/student, whose weights are measured"
    assert pair.warnings == (said,) and pair.student.name == name
    assert load_pair(teacher, str(adapter)).warnings == (said,)


def test_the_fingerprint_is_of_base_and_adapter(adapter, checkpoints, tmp_path):
    loaded = load_model(str(adapter))
    seen = {weights_fingerprint(str(checkpoints / "student")), loaded.fingerprint}
    assert fingerprints(str(adapter)) == (loaded.fingerprint, loaded.setup)
    edit(adapter, lora_alpha=6)
    seen.add(weights_fingerprint(str(adapter)))
    held = load_file(adapter / "adapter_model.safetensors")
    save_file({name: 2 * value for name, value in held.items()}, adapter / "adapter_model.safetensors")
    seen.add(weights_fingerprint(str(adapter)))
    edit(adapter, base_model_name_or_path=str(checkpoints / "teacher"))
    seen.add(weights_fingerprint(str(adapter)))
    assert len(seen) == 5


def test_a_base_may_be_named_relative_to_the_adapter(adapter, checkpoints):
    shutil.copytree(checkpoints / "student", adapter.parent / "base")
    edit(adapter, base_model_name_or_path="../base")
    load_model(str(adapter))


def test_its_own_processor_is_used_where_it_has_one(adapter, checkpoints):
    for file in ("tokenizer_config.json", "tokenizer.json", "processor_config.json"):
        shutil.copy(checkpoints / "student" / file, adapter / file)
    template = (checkpoints / "student" / "chat_template.jinja").read_text() + "{# of the adapter #}"
    (adapter / "chat_template.jinja").write_text(template)
    assert load_model(str(adapter)).processor.chat_template == template


def test_what_cannot_be_merged_is_refused_as_what_it_is(adapter, checkpoints, monkeypatch):
    edit(adapter, base_model_name_or_path=None)
    assert "is an adapter that names no base" in refusal(adapter)
    edit(adapter, base_model_name_or_path="nobody/none")
    assert "is an adapter, and its base nobody/none is neither a checkpoint folder nor on the hub" in refusal(adapter)
    edit(adapter, base_model_name_or_path=str(adapter))
    assert "is an adapter of an adapter" in refusal(adapter)
    edit(adapter, base_model_name_or_path=str(checkpoints / "teacher"))
    assert "is an adapter that cannot be merged into its base" in refusal(adapter)
    edit(adapter, base_model_name_or_path=str(checkpoints / "student"), target_modules="nothing")
    assert "is an adapter that cannot be merged into its base" in refusal(adapter)
    edit(adapter, target_modules=".*q_proj")
    assert "is an adapter that does not fit its base" in refusal(adapter)
    edit(adapter, target_modules=TARGETS)
    monkeypatch.setitem(sys.modules, "peft", None)
    assert "is an adapter, which needs peft: pip install 'vgs-geometry[peft]'" in refusal(adapter)


def test_prompts_that_were_tuned_are_no_weights(adapter, checkpoints):
    made = PrefixTuningConfig(num_virtual_tokens=3, base_model_name_or_path=str(checkpoints / "student"))
    made.save_pretrained(adapter)
    assert "is an adapter of prompts, not of weights" in refusal(adapter)


def test_a_pickle_is_not_read(adapter):
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    assert "is an adapter without adapter_model.safetensors" in refusal(adapter)


def test_a_whole_model_with_an_adapter_beside_it_is_two_sets(adapter, checkpoints):
    for file in (checkpoints / "student").iterdir():
        shutil.copy(file, adapter / file.name)
    assert "holds two sets of weights, an adapter and a whole model" in refusal(adapter)
