"""Adapters on a mixture of experts: what is adapted, what is said, gradients by the chain rule, merged weights."""

import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration

from bundled import architecture
from cli.errors import OptionError
from records.journal import read_journal
from tests import models
from tests.train.small import batch, learner, small, watch
from train.gradients import batch_grams
from train.learner import Learner
from train.loop import train
from train.models import prepare_student
from train.step import summed_gradient
from vlm.checkpoints.pair import load_pair
from vlm.families import language_layers, language_stacks

pytest.importorskip("peft")
STACKS = [f"model.language_model.layers.{n}.mlp.experts.{part}_proj" for n in (0, 1) for part in ("gate_up", "down")]
ROUTERS = [f"model.language_model.layers.{n}.mlp.gate.weight" for n in (0, 1)]


@pytest.fixture(scope="module")
def mixtures(checkpoints, tmp_path_factory):
    """A folder like `checkpoints` whose student has four experts a layer, two of them for each token."""
    folder = tmp_path_factory.mktemp("mixtures")
    dense = architecture.config(models.STUDENT).to_dict()
    moe = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "decoder_sparse_step": 1}
    text = {k: v for k, v in dense["text_config"].items() if k != "model_type"} | moe
    vision = {k: v for k, v in dense["vision_config"].items() if k != "model_type"}
    ids = {name: value for name, value in dense.items() if name.endswith("token_id") and value is not None}
    config = Qwen3VLMoeConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    model = Qwen3VLMoeForConditionalGeneration(config)
    models.widen(model, seed=1)
    model.save_pretrained(folder / "student")
    architecture.processor().save_pretrained(folder / "student")
    (folder / "teacher").symlink_to(checkpoints / "teacher")
    return folder


def adapted(mixtures, **changes):
    """A learner whose student has adapters, and these; B is drawn, as after some steps."""
    found = learner(small(mixtures, lora_rank=2, **changes))
    found.pair.student.model.set_experts_implementation("eager")
    pair, adapters = prepare_student(found.pair, found.config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in adapters.parameters.items():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return Learner(pair, found.config, found.optimizer, found.accelerator), adapters


def test_experts_have_adapters_and_what_has_none_is_said(mixtures):
    found, adapters = adapted(mixtures)
    assert list(adapters.stacks) == STACKS and len(adapters.layers) == 8
    assert all("self_attn" in name for name in adapters.layers)
    assert len(adapters.parameters) == 2 * (8 + 4) and all("lora_" in name for name in adapters.parameters)
    assert list(adapters.without) == ROUTERS
    assert str(adapters) == (
        "adapters: on 8 linear layers and 4 stacks of experts; none on 2 other matrices of its layers, such as "
        "model.language_model.layers.0.mlp.gate.weight"
    )
    assert list(found.pair.student.groups) == ["layer_00", "layer_01"]


def test_each_expert_has_a_change_of_the_rank(mixtures):
    _, adapters = adapted(mixtures)
    for stack in adapters.stacks.values():
        delta = stack.get_delta_weight("default")
        assert delta.shape == stack.get_param().shape and (torch.linalg.matrix_rank(delta) == 2).all()


def test_the_gradient_is_that_of_the_merged_weights_in_the_adapters(mixtures):
    """By the chain rule, through the change of each weight."""
    found, adapters = adapted(mixtures, eta="none")
    made = batch(found)
    own = dict(zip(adapters.parameters, summed_gradient(found, made, watch()).gradient, strict=True))
    plain = learner(replace(found.config, lora_rank=0))
    plain.pair.student.model.set_experts_implementation("eager")
    plain.pair.student.model.load_state_dict(adapters.merged())
    every = [name for name, p in plain.pair.student.model.named_parameters() if p.requires_grad]
    full = dict(zip(every, summed_gradient(plain, made, watch()).gradient, strict=True))
    wrappers = {f"{name}.weight": layer for name, layer in adapters.layers.items()} | dict(adapters.stacks)
    names = {parameter: name for name, parameter in adapters.parameters.items()}
    length = max(float(g.norm()) for g in own.values())
    assert min(float(full[name].norm()) for name in STACKS) > 1e-3 * length
    for name, wrapper in wrappers.items():
        pair = [wrapper.lora_A["default"].weight, wrapper.lora_B["default"].weight]
        expected = torch.autograd.grad(wrapper.get_delta_weight("default"), pair, full[name])
        for parameter, gradient in zip(pair, expected, strict=True):
            assert (own[names[parameter]] - gradient).norm() < 1e-5 * length


def test_the_journal_measures_the_adapters_of_experts(mixtures):
    found, adapters = adapted(mixtures, lora_targets="experts")
    assert not adapters.layers and set(adapters.stacks) == set(STACKS)
    grams = batch_grams(found, batch(found))
    assert set(grams) == {"layer_00", "layer_01"}
    assert all(gram.norm(name) > 0 for gram in grams.values() for name in ("standard", "language", "visual"))


def test_a_run_saves_merged_experts_and_continues(mixtures, tmp_path, capsys):
    config = small(mixtures, out=str(tmp_path / "run"), lora_rank=2, lr=1e-2, steps=2, checkpoint_every=1)
    folder = train(config)
    assert "adapters: on 8 linear layers and 4 stacks of experts; none on 2 other" in capsys.readouterr().out
    first, last = (load_file(path / "model.safetensors") for path in (mixtures / "student", folder / "last"))
    assert first.keys() == last.keys()
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    assert all(re.search(r"experts|self_attn\.._proj", name) for name in moved)
    assert any("experts" in name for name in moved) and any("q_proj" in name for name in moved)
    pair, adapters = prepare_student(load_pair(config.student, config.teacher), config)
    adapters.load(torch.load(folder / "last" / "training.pt", weights_only=True)["adapters"])
    ids = torch.tensor([[20, 21, 22, 23]])
    with torch.no_grad():
        ours, theirs = (p.student.model(input_ids=ids).logits for p in (pair, load_pair(str(folder / "last"))))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert len(read_journal(train(replace(config, steps=3, resume=True, override=True))).steps) == 3


def test_targets_are_chosen_among_experts_too(mixtures):
    config = small(mixtures, lora_rank=2, lora_targets=r"layers\.1\..*(down|q)_proj")
    _, adapters = prepare_student(load_pair(config.student, config.teacher), config)
    assert list(adapters.stacks) == STACKS[3:]
    assert list(adapters.layers) == ["model.language_model.layers.1.self_attn.q_proj"]
    with pytest.raises(OptionError, match="find one of 8 linear layers and 4 stacks of experts, the first model"):
        prepare_student(
            load_pair(config.student, config.teacher), small(mixtures, lora_rank=2, lora_targets="gate_proj")
        )


def test_a_student_with_nothing_to_adapt_is_refused(checkpoints):
    config = small(checkpoints, lora_rank=2)
    pair = load_pair(config.student, config.teacher)
    pair.student.model.model.language_model.layers = torch.nn.ModuleList()
    with pytest.raises(OptionError, match="needs linear layers or experts .* there are none in this student; train"):
        prepare_student(pair, config)


def test_stacks_are_those_of_the_language_model(mixtures, checkpoints):
    model = load_pair(str(mixtures / "student"), str(mixtures / "teacher")).student.model
    assert language_stacks(model) == STACKS and len(language_layers(model)) == 8
    assert language_stacks(load_pair(str(checkpoints / "student"), str(checkpoints / "teacher")).student.model) == []
