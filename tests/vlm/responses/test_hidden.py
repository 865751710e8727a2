"""Hidden states and heads against the models' own logits, family by family."""

import pytest
import torch
from PIL import Image
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, SmolVLMConfig
from transformers import SmolVLMForConditionalGeneration as SmolVLM

from geometry import FourViews, HiddenViews, Objective, objective_loss, objective_loss_from_hidden, token_shares
from geometry.lm_head import scaled_and_capped
from tests import models
from tests.vlm import test_families as families
from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel
from vlm.prompts.prompt import Prompt
from vlm.responses.output_layer import head_of
from vlm.responses.passes import response_hidden, response_logits
from vlm.responses.rollouts import Sampling, generate
from vlm.responses.scoring import view_hidden, view_logits
from vlm.views.view import Encoded, image_view, text_view


@pytest.fixture(scope="module")
def inputs(pair):
    """Image and text views of prompts with and without pictures, and responses of other lengths."""
    prompts = models.scenes(7)
    rollouts = generate(pair.student, prompts, Sampling(max_response=7))
    views = [text_view(p) if number % 3 == 1 else image_view(p) for number, p in enumerate(prompts)]
    return views, [rollout.token_ids for rollout in rollouts]


def other_inputs(build):
    """The same for a family of `test_families`."""
    model, processor = build()
    model.config.image_token_id = model.model.config.image_token_id = families.words().convert_tokens_to_ids("<image>")
    picture, text = Image.new("RGB", (16, 16), (200, 9, 90)), {"type": "text", "text": "what colour is it"}
    pictured = Prompt("p", ({"role": "user", "content": [{"type": "image"}, text]},), (picture,), "")
    bare = Prompt("q", ({"role": "user", "content": [text]},), (), "")
    views, responses = [image_view(pictured), image_view(bare), text_view(pictured)], [[5, 6, 1], [7, 1], [5, 6, 1]]
    return LoadedModel("random", model.eval(), processor, ""), views, responses


def qwen25():
    """With a picture of one token, whose input is written by hand."""
    config = families.qwen25().config
    vision = {**config.vision_config.to_dict(), "spatial_merge_size": 2, "temporal_patch_size": 2}
    config = Qwen2_5_VLConfig(**{**config.to_dict(), "vision_config": vision})
    return Qwen2_5_VLForConditionalGeneration(config), {
        "pixel_values": torch.randn(8, 3 * 2 * 8 * 8),
        "image_grid_thw": torch.tensor([[1, 2, 2]] * 2),
    }


def smolvlm():
    config = families.idefics3().config.to_dict()
    del config["model_type"], config["vision_config"]["model_type"]
    made = SmolVLM(SmolVLMConfig(**config))
    return made, {"pixel_values": torch.randn(2, 1, 3, 16, 16)}


def by_hand(build):
    model, pictures = build()
    models.widen(model, seed=1, factor=10.0)
    ids = torch.tensor([[3, 42, 40, 43, 5, 6, 7, 1], [42, 40, 43, 8, 9, 1, 0, 0]])
    mask = torch.tensor([[1] * 8, [1] * 6 + [0] * 2])
    text = {"input_ids": ids, "attention_mask": mask}
    if "image_grid_thw" in pictures:
        text["mm_token_type_ids"] = (ids == 40).long()
    return LoadedModel("random", model.eval(), None, ""), Encoded({**text, **pictures}, (4, 2), (3, 3))


def assert_linear(hidden, logits, layer, n_ids):
    assert len(hidden) == len(logits)
    for states, expected in zip(hidden, logits, strict=True):
        assert states.shape == (len(expected), layer.weight.shape[1])
        found = nn.functional.linear(states, layer.weight, layer.bias)[:, :n_ids]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert expected.std() > 1e-3


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_qwen3_vl(pair, inputs, side):
    loaded = getattr(pair, side)
    head = head_of(loaded, pair.n_ids)
    assert head.weight is loaded.model.get_output_embeddings().weight
    for hidden, expected in zip(view_hidden(loaded, *inputs), view_logits(loaded, *inputs, pair.n_ids), strict=True):
        torch.testing.assert_close(head.logits(hidden), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", [families.llava_member, families.idefics3_member])
def test_llava_and_idefics3(build):
    loaded, views, responses = other_inputs(build)
    head = head_of(loaded, 48)
    together = view_hidden(loaded, views, responses)
    for hidden, expected in zip(together, view_logits(loaded, views, responses, 48), strict=True):
        torch.testing.assert_close(head.logits(hidden), expected, rtol=1e-5, atol=1e-5)
    for view, response, hidden in zip(views, responses, together, strict=True):
        torch.testing.assert_close(hidden, view_hidden(loaded, [view], [response])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [qwen25, smolvlm])
def test_qwen25_vl_and_smolvlm(build):
    loaded, encoded = by_hand(build)
    layer = loaded.model.get_output_embeddings()
    hidden, logits = response_hidden(loaded, encoded), response_logits(loaded, encoded, 44)
    assert_linear(hidden, logits, layer, 44)
    changed = {**encoded.inputs, "pixel_values": 2 * encoded.inputs["pixel_values"]}
    other = response_hidden(loaded, Encoded(changed, encoded.first, encoded.lengths))
    assert not torch.allclose(hidden[0], other[0], atol=1e-4)  # the picture is seen


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # the newer name is not in all versions
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_those_of_the_logits(checkpoints, inputs, checkpointing):
    pair = models.load(checkpoints, "float64")
    model, teacher = pair.student.model, view_logits(pair.teacher, *inputs, pair.n_ids)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        assert model.train().is_gradient_checkpointing  # in training mode alone; nothing here drops out
    target, objective = torch.cat(teacher), Objective("standard")
    shares = {"shares": token_shares([len(response) for response in inputs[1]])}
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    logits = torch.cat(view_logits(pair.student, *inputs, pair.n_ids))
    want = objective_loss(FourViews(logits, logits.detach(), target, target), objective, **shares).loss
    hidden, head = torch.cat(view_hidden(pair.student, *inputs)), head_of(pair.student, pair.n_ids)
    taught, other = torch.cat(view_hidden(pair.teacher, *inputs)), head_of(pair.teacher, pair.n_ids)
    models_of = HiddenViews(hidden, hidden, head), HiddenViews(taught, taught, other)
    got = objective_loss_from_hidden(*models_of, objective, **shares).loss
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    found = [models.flat(parameters, torch.autograd.grad(x, parameters, allow_unused=True)) for x in (got, want)]
    assert found[1].abs().max() > 1e-4
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_nothing_is_left_behind(pair, inputs):
    before = view_logits(pair.student, *inputs, pair.n_ids)
    view_hidden(pair.student, *inputs)
    assert not pair.student.model.get_output_embeddings()._forward_pre_hooks
    for first, again in zip(before, view_logits(pair.student, *inputs, pair.n_ids), strict=True):
        assert torch.equal(first, again)
    assert view_hidden(pair.student, [], []) == []


class Behind(nn.Module):
    """A model whose logits are changed after its output layer."""

    def __init__(self, model, change):
        super().__init__()
        self.model, self.change, self.config = model, change, model.config

    def get_output_embeddings(self):
        return self.model.get_output_embeddings()

    def forward(self, **inputs):
        result = self.model(**inputs)
        result.logits = self.change(result.logits)
        return result


CHANGES = {
    "cap": (lambda x: 30 * torch.tanh(x / 30), 1.0, 30.0),
    "low-cap": (lambda x: 2.5 * torch.tanh(x / 2.5), 1.0, 2.5),
    "scale": (lambda x: 0.0625 * x, 0.0625, None),
    "division": (lambda x: x / 13, 1 / 13, None),
    "large-scale": (lambda x: 3.5 * x, 3.5, None),
    "scale-then-cap": (lambda x: 15 * torch.tanh(x / 6 / 15), 1 / 6, 15.0),
    "cap-then-scale": (lambda x: 0.5 * 30 * torch.tanh(x / 30), 0.5, 15.0),
}


def spoilt_by(loaded, change):
    return LoadedModel(loaded.name, Behind(loaded.model, change), loaded.processor, "")


@pytest.mark.parametrize(("change", "scale", "softcap"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_scales_and_caps_are_measured(checkpoints, inputs, change, scale, softcap, dtype):
    """Whether the head is asked for before any response was run, or after."""
    loaded = spoilt_by(models.load(checkpoints, dtype).student, change)
    if dtype == "bfloat16":
        view_hidden(loaded, *inputs)
    head, within = head_of(loaded, 40), 1e-2 if dtype in ("bfloat16", "float16") else 1e-5
    assert head.scale == pytest.approx(scale, rel=within)
    assert head.softcap == (None if softcap is None else pytest.approx(softcap, rel=within))
    if dtype == "float32":
        for hidden, expected in zip(view_hidden(loaded, *inputs), view_logits(loaded, *inputs, 40), strict=True):
            torch.testing.assert_close(head.logits(hidden), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_config_says_exactly_what_was_measured_roughly(checkpoints, dtype):
    loaded = models.load(checkpoints, dtype).student
    other = spoilt_by(loaded, lambda x: 29.7 * torch.tanh(x / 7 / 29.7))
    other.model.config.get_text_config().update({"final_logit_softcapping": 29.7, "logits_scaling": 7.0})
    head = head_of(other, 40)
    assert (head.scale, head.softcap) == (1 / 7, 29.7)
    plain = spoilt_by(loaded, lambda x: x)
    plain.model.config.get_text_config().update({"logit_scale": 0.25})
    assert (head_of(plain, 40).scale, head_of(plain, 40).softcap) == (1.0, None)  # stated, and not done


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + x.std(),
        lambda x: x + 0.1 * x**2 / (1 + x.abs()),
        lambda x: -x,
        lambda x: 30 * x / (30 + x.abs()),
        lambda x: x.clamp(-20, 20),
        lambda x: x[..., :-1],
        lambda x: x / 0,
        lambda x: x.index_fill(-1, torch.tensor([5]), -1e9),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_refuses_logits_that_are_neither_scaled_nor_capped(checkpoints, inputs, change, dtype):
    loaded = models.load(checkpoints, dtype).student
    assert view_hidden(loaded, *inputs)[0].dtype == head_of(loaded, 9).weight.dtype
    spoilt = spoilt_by(loaded, change)
    for call in (lambda: view_hidden(spoilt, *inputs), lambda: head_of(spoilt, 9)):
        with pytest.raises(
            CheckpointError, match=r"must have logits that are one linear map .*, got .*; take the loss from `view"
        ) as e:
            call()
        assert "\n" not in str(e.value)


def test_refuses_a_map_that_changes(checkpoints, inputs):
    """A scale that follows the weights, say, is not the one that was measured."""
    factor = [1.0]
    loaded = spoilt_by(models.load(checkpoints).student, lambda x: factor[0] * x)
    view_hidden(loaded, *inputs)
    factor[0] = 0.9
    with pytest.raises(CheckpointError, match="got a difference of"):
        view_hidden(loaded, *inputs)


@pytest.mark.parametrize("end", [{"scale": 1 / 13}, {"softcap": 2.5}])
def test_gradients_of_capped_logits_are_those_of_autograd(checkpoints, inputs, end):
    pair = models.load(checkpoints, "float64")
    student = spoilt_by(pair.student, lambda x: scaled_and_capped(x, end.get("scale", 1.0), end.get("softcap")))
    objective, shares = Objective("standard"), {"shares": token_shares([len(response) for response in inputs[1]])}
    target = torch.cat(view_logits(pair.teacher, *inputs, pair.n_ids))
    parameters = [parameter for parameter in student.model.parameters() if parameter.requires_grad]
    logits = torch.cat(view_logits(student, *inputs, pair.n_ids))
    want = objective_loss(FourViews(logits, logits.detach(), target, target), objective, **shares).loss
    hidden, taught = torch.cat(view_hidden(student, *inputs)), torch.cat(view_hidden(pair.teacher, *inputs))
    views = HiddenViews(hidden, hidden, head_of(student, pair.n_ids))
    teacher = HiddenViews(taught, taught, head_of(pair.teacher, pair.n_ids))
    got = objective_loss_from_hidden(views, teacher, objective, **shares).loss
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    found = [models.flat(parameters, torch.autograd.grad(x, parameters, allow_unused=True)) for x in (got, want)]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_refuses_an_output_layer_that_is_not_linear(checkpoints, inputs):
    loaded = models.load(checkpoints).student
    loaded.model.set_output_embeddings(nn.Sequential(loaded.model.get_output_embeddings()))
    for call in (lambda: head_of(loaded, 9), lambda: view_hidden(loaded, *inputs)):
        with pytest.raises(CheckpointError, match=r"must have a linear output layer .* got Sequential; leave it out"):
            call()
