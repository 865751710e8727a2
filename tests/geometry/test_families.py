"""The Gram engine on small random vision-language models of four families, against dense gradients in float64.

A prompt holds pictures of random pixels between random words; its text view is the same words without them. Every
family does some of its arithmetic in float32 whatever its weights are in. A float64 model here does not (`Float64`),
so that the engine and the plain gradients must agree to far below float32's precision.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

from geometry import BASIS, Cotangents, FourViews, Gramian, ProbedResponse, cotangents
from geometry.gramian import backward
from tests.geometry.problems import normal, tensor
from tests.geometry.test_gramian import summed
from vlm.families import parameter_groups

N_TOKENS = 3  # of the response
UNITS = torch.cat([torch.eye(N_TOKENS), torch.full((1, N_TOKENS), 1 / N_TOKENS)]).double()  # each token, then all
IMAGE, VIDEO, START, END = 36, 37, 38, 39  # ids; 0 pads and those between are words
SPECIAL = {"image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": START, "vision_end_token_id": END}
SIZES = {"hidden_size": 16, "intermediate_size": 24}
HEADS = {"num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**SIZES, **HEADS, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 40, "pad_token_id": 0}
QWEN_TEXT = TEXT | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}}
QWEN_VISION = {**SIZES, "depth": 2, "num_heads": 2, "patch_size": 4, "out_hidden_size": 16}
LLAMA = TEXT | {"model_type": "llama"}
GRIDS = [[1, 4, 4], [1, 2, 6]]  # frames, rows and columns of patches of each picture; four patches make a token


def qwen3_vl(**options: Any) -> PreTrainedModel:
    vision = QWEN_VISION | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    config = Qwen3VLConfig(text_config=QWEN_TEXT, vision_config=vision, **SPECIAL, **options)
    return Qwen3VLForConditionalGeneration(config)


def qwen2_5_vl(**options: Any) -> PreTrainedModel:
    vision = QWEN_VISION | {"fullatt_block_indexes": [1], "window_size": 16}
    config = Qwen2_5_VLConfig(text_config=QWEN_TEXT, vision_config=vision, **SPECIAL, **options)
    return Qwen2_5_VLForConditionalGeneration(config)


def llava(**options: Any) -> PreTrainedModel:
    vision = {**SIZES, **HEADS, "image_size": 16, "patch_size": 8, "model_type": "clip_vision_model"}
    config = LlavaConfig(text_config=LLAMA, vision_config=vision, image_token_index=IMAGE, **options)
    return LlavaForConditionalGeneration(config)


def smolvlm(**options: Any) -> PreTrainedModel:
    vision = {**SIZES, **HEADS, "image_size": 16, "patch_size": 4}
    config = SmolVLMConfig(text_config=LLAMA, vision_config=vision, image_token_id=IMAGE, **options)
    return SmolVLMForConditionalGeneration(config)


Family = Callable[..., PreTrainedModel]
FAMILIES: list[Family] = [qwen3_vl, qwen2_5_vl, llava, smolvlm]
QWEN = (qwen3_vl, qwen2_5_vl)
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)


class Float64(TorchFunctionMode):
    """Where a function is asked for float32, ask for float64: norms, softmax and rotary positions do."""

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        def widened(value: Any) -> Any:
            return torch.float64 if value is torch.float32 else value

        function = torch.Tensor.double if function is torch.Tensor.float else function
        return function(*map(widened, args), **{name: widened(value) for name, value in (kwargs or {}).items()})


@dataclass(frozen=True)
class View:
    """The response under one view; nothing is run behind the last position."""

    model: PreTrainedModel
    inputs: Mapping[str, Tensor]

    def __call__(self, positions: Tensor) -> Tensor:
        """Return the logits `[n, V]` at the positions, float32 or better."""
        shape = self.inputs["input_ids"].shape
        first = shape[1] - N_TOKENS - 1  # this column's logits are those of the first token
        stop = first + int(positions[-1]) + 1
        inputs = {name: value[:, :stop] if value.shape == shape else value for name, value in self.inputs.items()}
        with Float64() if self.model.dtype is torch.float64 else nullcontext():
            logits = self.model(**inputs, use_cache=False).logits[0, first + positions]
        return logits.float() if logits.dtype is torch.bfloat16 else logits


@dataclass(frozen=True)
class Student:
    """A model and the two views of a response; without a picture they are the same callable."""

    model: PreTrainedModel
    image: View
    text: View

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return parameter_groups(self.model)

    def cotangents(self) -> Cotangents:
        """Return the cotangents under a teacher near this student."""
        with torch.no_grad():
            image, text = (view(torch.arange(N_TOKENS)) for view in (self.image, self.text))
        other = 7 if self.image is self.text else 8
        teacher = image + normal(*image.shape, seed=7), text + normal(*text.shape, seed=other)
        return cotangents(FourViews(image, text, *teacher))

    def grams(self, cots: Cotangents, engine: Gramian | None = None, **options: Any) -> dict[str, Tensor]:
        """Return the Gram matrices of `UNITS` from an engine with these options."""
        engine = engine or Gramian(self.model, self.groups(), **options)
        response = ProbedResponse(self.image, self.text, cots, torch.arange(N_TOKENS))
        return {name: tensor(gram) for name, gram in engine.units(response, UNITS).items()}

    def to(self, dtype: torch.dtype) -> "Student":
        """Return a copy in another precision."""
        return student_of(deepcopy(self.model).to(dtype), self.image.inputs, self.text.inputs)


def student_of(model: PreTrainedModel, image: Mapping[str, Tensor], text: Mapping[str, Tensor]) -> Student:
    def view(inputs: Mapping[str, Tensor]) -> View:
        return View(model, {name: v.to(model.dtype) if v.is_floating_point() else v for name, v in inputs.items()})

    seen = view(image)
    return Student(model, seen, seen if image is text else view(text))


def random_student(
    family: Family, n_pictures: int = 1, attention: str = "sdpa", tied: bool = True, dtype: torch.dtype = torch.float64
) -> Student:
    """Draw a model, its weights wide enough for logits to differ, and a prompt of some words and pictures."""
    model = drawn(family(attn_implementation=attention, tie_word_embeddings=tied), dtype)
    text = inputs_of(family, 0)
    return student_of(model, inputs_of(family, n_pictures) if n_pictures else text, text)


@torch.no_grad()
def drawn(model: PreTrainedModel, dtype: torch.dtype = torch.float64) -> PreTrainedModel:
    """Draw the weights of a model."""
    for seed, parameter in enumerate(model.parameters()):
        noise = normal(*parameter.shape, seed=seed)
        matrix = parameter.ndim > 1
        parameter.copy_(0.7 * noise * parameter[0].numel() ** -0.5 if matrix else parameter + 0.1 * noise)
    return model.eval().to(dtype)


def inputs_of(family: Family, n_pictures: int) -> dict[str, Tensor]:
    """Return what the model is given: the padding id, which embeddings do not learn at, pictures, the same words."""
    pixels, n_seen = pictures(family, n_pictures) if n_pictures else ({}, [])
    seen = [index for n in n_seen for index in (START, *[IMAGE] * n, END)]
    words = torch.randint(1, IMAGE, (4 + N_TOKENS,), generator=torch.Generator().manual_seed(9)).tolist()
    ids = torch.tensor([[0, *seen, *words]])
    return pixels | {"input_ids": ids} | ({"mm_token_type_ids": ids.eq(IMAGE).int()} if family in QWEN else {})


def pictures(family: Family, n: int) -> tuple[dict[str, Tensor], list[int]]:
    """Return pictures as the family takes them, and how many tokens stand for each."""
    if family in QWEN:
        grids = torch.tensor(GRIDS[:n])
        n_patches = grids.prod(dim=1)
        patches = normal(int(n_patches.sum()), 3 * 2 * 4 * 4)  # channels, frames, rows, columns
        return {"pixel_values": patches, "image_grid_thw": grids}, (n_patches // 4).tolist()
    pixels = normal(n, 3, 16, 16)
    return {"pixel_values": pixels if family is llava else pixels.unsqueeze(0)}, [4] * n


def plain_grams(student: Student, cots: Cotangents, groups: dict[str, list[nn.Parameter]]) -> dict[str, Tensor]:
    """Every Gram matrix from dense gradients: a backward pass for each objective of each unit."""
    image, text = (view(torch.arange(N_TOKENS)) for view in (student.image, student.text))
    members = [parameter for group in groups.values() for parameter in group]
    sizes = [sum(parameter.numel() for parameter in group) for group in groups.values()]
    found: dict[str, list[Tensor]] = {name: [] for name in groups}
    for weights in UNITS:
        seeds = {k: weights.unsqueeze(-1) * getattr(cots, k) for k in BASIS}
        logits = {k: text if k in backward.TEXT else image for k in seeds}
        gradients = [dense_gradient(logits[k], seed, members) for k, seed in seeds.items()]
        for name, rows in zip(groups, torch.stack(gradients).split(sizes, dim=1), strict=True):
            found[name].append(rows @ rows.T)
    return {name: torch.stack(grams) for name, grams in found.items()}


def dense_gradient(logits: Tensor, cotangent: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """One gradient `[n]` over the parameters, 0 where the logits do not depend on them."""
    found = torch.autograd.grad(
        logits, parameters, cotangent.to(logits), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([gradient.flatten().double() for gradient in found])


def worst(gram: Tensor, expected: Tensor) -> float:
    """The largest |dG_ab| / sqrt(G_aa G_bb); where that root is 0, G_ab must be."""
    lengths = expected.diagonal(dim1=-2, dim2=-1).sqrt()
    scale = lengths.unsqueeze(-1) * lengths.unsqueeze(-2)
    there = scale > 0
    assert (gram[~there] == 0).all()
    return ((gram - expected).abs()[there] / scale[there]).max().item() if there.any() else 0.0


def assert_equal_groups(grams: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(grams) == list(expected)
    errors = {name: worst(gram, expected[name]) for name, gram in grams.items()}
    assert max(errors.values()) <= 1e-9, errors


CASES: dict[str, dict[str, Any]] = {
    "one-picture": {},
    "two-pictures": {"n_pictures": 2},
    "no-picture": {"n_pictures": 0},
    "untied": {"tied": False},
    "eager": {"attention": "eager"},
}


@every_family
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_dense_gradients(family: Family, case: dict[str, Any]) -> None:
    student = random_student(family, **case)
    cots = student.cotangents()
    expected = plain_grams(student, cots, student.groups())
    for options in ({}, {"chunk": 1}, {"way": "autograd"}, {"way": "autograd", "batched": False}):
        assert_equal_groups(student.grams(cots, **options), expected)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # the newer name is not in all versions
@every_family
def test_gradient_checkpointing(family: Family) -> None:
    student = random_student(family)
    cots = student.cotangents()
    expected = plain_grams(student, cots, student.groups())
    how = {"use_reentrant": False, "context_fn": lambda: (Float64(), Float64())}
    student.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)
    assert student.model.train().is_gradient_checkpointing
    for options in ({}, {"way": "autograd"}, {"way": "autograd", "batched": False}):
        assert_equal_groups(student.grams(cots, chunk=3, **options), expected)


class Adapted(nn.Module):
    """A linear map with a correction of rank 2 beside it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down, self.up = nn.Linear(16, 2, bias=False), nn.Linear(2, base.out_features, bias=False)
        self.to(base.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.base(inputs) + 2 * self.up(self.down(inputs))


@every_family
def test_adapters_alone_of_a_frozen_model(family: Family) -> None:
    student = random_student(family)
    student.model.requires_grad_(False)
    adapters = []
    for layer in student.model.get_decoder().layers:
        layer.self_attn.q_proj, layer.self_attn.v_proj = map(Adapted, (layer.self_attn.q_proj, layer.self_attn.v_proj))
        adapters += [layer.self_attn.q_proj, layer.self_attn.v_proj]
    groups = {str(place): [adapter.down.weight, adapter.up.weight] for place, adapter in enumerate(adapters)}
    cots = student.cotangents()
    engine = Gramian(student.model, groups)
    assert_equal_groups(student.grams(cots, engine), plain_grams(student, cots, groups))
    assert not engine.watched.modules.rest


@every_family
def test_some_parameters_of_a_trainable_model(family: Family) -> None:
    student = random_student(family)
    named = student.model.named_parameters()
    groups = {"some": [parameter for name, parameter in named if re.search(r"(v_proj|qkv)\.|patch_embed", name)]}
    cots = student.cotangents()
    grams = student.grams(cots, Gramian(student.model, groups))
    assert_equal_groups(grams, plain_grams(student, cots, groups))


@every_family
@pytest.mark.parametrize(
    ("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)], ids=["float32", "bfloat16"]
)
def test_lower_precisions_on_the_whole_model(family: Family, dtype: torch.dtype, most: float) -> None:
    """Against float64 arithmetic on the same weights and pictures."""
    student = random_student(family, dtype=dtype)
    exact = student.to(torch.float64)
    cots = exact.cotangents()
    expected = summed(plain_grams(exact, cots, exact.groups()))
    assert worst(summed(student.grams(cots)), expected) <= most


@every_family
def test_only_small_parameters_are_taken_densely(family: Family) -> None:
    student = random_student(family, n_pictures=2)
    engine = Gramian(student.model, student.groups())
    student.grams(student.cotangents(), engine)
    names = {parameter: name for name, parameter in student.model.named_parameters()}
    rest = {names[parameter] for parameter in engine.watched.modules.rest}
    assert rest == {name for parameter, name in names.items() if parameter.ndim == 1}
    if family is qwen3_vl:
        assert all(re.search(r"\.bias$|norm\d?\.weight$", name) for name in rest)
        assert {names[parameter] for parameter in engine.watched.modules.parameters} == set(names.values()) - rest
        assert engine.unreached() == []


def state(model: nn.Module) -> Iterator[Any]:
    """What a call must not change: hooks and modes of modules; hooks, gradients, flags and versions of parameters."""
    for module in model.modules():
        yield len(module._forward_hooks), len(module._forward_pre_hooks)
        yield len(module._backward_hooks), len(module._backward_pre_hooks), module.training
    for parameter in model.parameters():
        yield len(parameter._backward_hooks or ()), parameter.grad, parameter.requires_grad, parameter._version


@every_family
def test_the_model_is_left_as_it_was(family: Family) -> None:
    student = random_student(family)
    student.model.lm_head.requires_grad_(False)
    groups = {name: members for name, members in student.groups().items() if name != "embedding_head"}
    cots = student.cotangents()  # a pass before: the model may have hooks of its own from its first one on
    before = list(state(student.model))
    engine = Gramian(student.model, groups)
    student.grams(cots, engine)
    assert list(state(student.model)) == before

    def broken(positions: Tensor) -> Tensor:
        student.image(positions)
        raise RuntimeError("a shape does not fit")

    with pytest.raises(RuntimeError, match="does not fit"):
        engine.units(ProbedResponse(broken, student.text, cots, torch.arange(N_TOKENS)), UNITS)
    assert list(state(student.model)) == before
