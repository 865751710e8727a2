"""Experts, scaled embeddings and bare matrices: the engine against dense gradients in float64, and what it holds.

Small random models whose weights belong to no `Linear` or `Embedding`: stacks of experts of either layout, looped over
or multiplied at once, beside shared experts and routers; embeddings that are scaled, tied to the head or not.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as tf
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from geometry import Gramian
from geometry.gramian.watched import Watched
from tests.geometry.problems import normal
from tests.geometry.test_families import (
    HEADS,
    IMAGE,
    N_TOKENS,
    QWEN_TEXT,
    QWEN_VISION,
    SIZES,
    SPECIAL,
    TEXT,
    UNITS,
    Student,
    assert_equal_groups,
    dense_gradient,
    drawn,
    plain_grams,
    student_of,
    worst,
)

Built = tuple[PreTrainedModel, dict[str, Tensor]]
"""A model, and what it is given beside ids where the prompt has a picture."""

MIXTURE = {"moe_intermediate_size": 12, "num_experts": 6, "num_experts_per_tok": 2}
PATCHES = {"pixel_values": normal(16, 3 * 2 * 4 * 4), "image_grid_thw": torch.tensor([[1, 4, 4]])}


def qwen3_vl_moe(**options: Any) -> Built:
    vision = QWEN_VISION | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    config = tf.Qwen3VLMoeConfig(text_config=QWEN_TEXT | MIXTURE, vision_config=vision, **SPECIAL, **options)
    return tf.Qwen3VLMoeForConditionalGeneration(config), PATCHES


def qwen3_5_moe(**options: Any) -> Built:
    linear = {"linear_key_head_dim": 4, "linear_value_head_dim": 4, "linear_num_key_heads": 2}
    text = QWEN_TEXT | MIXTURE | linear | {"linear_num_value_heads": 4, "shared_expert_intermediate_size": 12}
    text |= {"layer_types": ["linear_attention", "full_attention"], "rope_parameters": ROTARY}
    vision = QWEN_VISION | {"num_position_embeddings": 16}
    config = tf.Qwen3_5MoeConfig(text_config=text, vision_config=vision, **SPECIAL, **options)
    return tf.Qwen3_5MoeForConditionalGeneration(config), PATCHES


ROTARY = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1], "partial_rotary_factor": 1.0}


def llama4(**options: Any) -> Built:
    text = TEXT | {"intermediate_size": 12, "intermediate_size_mlp": 24, "num_local_experts": 3, "moe_layers": [1]}
    text |= {"attention_chunk_size": 64, "no_rope_layers": [1, 0], "num_experts_per_tok": 1}
    vision = {**HEADS, "hidden_size": 16, "intermediate_size": 64, "image_size": 56, "patch_size": 14}
    widths = {"vision_output_dim": 24, "projector_input_dim": 24, "projector_output_dim": 24}
    vision |= {"pixel_shuffle_ratio": 0.5, **widths}
    config = tf.Llama4Config(text_config=text, vision_config=vision, image_token_index=IMAGE, **options)
    return tf.Llama4ForConditionalGeneration(config), {"pixel_values": normal(1, 3, 56, 56)}


def gemma3(**options: Any) -> Built:
    text = TEXT | {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
    vision = {**SIZES, **HEADS, "image_size": 28, "patch_size": 7, "vision_use_head": False}
    vision |= {"model_type": "siglip_vision_model"}
    options |= {"mm_tokens_per_image": 4, "image_token_index": IMAGE}
    config = tf.Gemma3Config(text_config=text, vision_config=vision, **options)
    return tf.Gemma3ForConditionalGeneration(config), {"pixel_values": normal(1, 3, 28, 28)}


def deepseek_v3(**options: Any) -> Built:
    """The text model of Kimi: latent attention, a dense layer before the mixture, a router that is a bare matrix."""
    text = TEXT | {"moe_intermediate_size": 12, "n_routed_experts": 6, "num_experts_per_tok": 2, "n_group": 1}
    text |= {"topk_group": 1, "first_k_dense_replace": 1, "q_lora_rank": 8, "kv_lora_rank": 8, "v_head_dim": 8}
    text |= {"qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "num_key_value_heads": 2}
    del text["head_dim"]
    return tf.DeepseekV3ForCausalLM(tf.DeepseekV3Config(**text, **options)), {}


def gpt_oss(**options: Any) -> Built:
    """Experts stored as `[E, in, out]`, with biases."""
    text = TEXT | {"intermediate_size": 12, "num_local_experts": 6, "num_experts_per_tok": 2}
    return tf.GptOssForCausalLM(tf.GptOssConfig(**text, **options)), {}


def jetmoe(**options: Any) -> Built:
    """Experts over the parts of a sorted batch, in attention too."""
    text = TEXT | {"num_local_experts": 4, "num_experts_per_tok": 2, "kv_channels": 8, "num_key_value_heads": 2}
    return tf.JetMoeForCausalLM(tf.JetMoeConfig(**text, **options)), {}


FAMILIES: list[Callable[..., Built]] = [qwen3_vl_moe, qwen3_5_moe, llama4, gemma3, deepseek_v3, gpt_oss, jetmoe]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
WITHOUT_PICTURES = (deepseek_v3, gpt_oss, jetmoe)


def random_student(family: Callable[..., Built], tied: bool = True, dtype: torch.dtype = torch.float64) -> Student:
    """Draw a model, and a prompt of words with a picture (or, for a text model, with more words) before them."""
    model, picture = family(attn_implementation="eager", tie_word_embeddings=tied, experts_implementation="eager")
    words = torch.randint(1, IMAGE, (5 + N_TOKENS,), generator=torch.Generator().manual_seed(9)).tolist()
    seen = [3, 8, 8, 30] if family in WITHOUT_PICTURES else [IMAGE] * 4
    return student_of(drawn(model, dtype), picture | ids_of(family, [0, *seen, *words]), ids_of(family, [0, *words]))


def ids_of(family: Callable[..., Built], ids: list[int]) -> dict[str, Tensor]:
    found = {"input_ids": torch.tensor([ids])}
    if family in (qwen3_vl_moe, qwen3_5_moe):
        found["mm_token_type_ids"] = found["input_ids"].eq(IMAGE).int()
    return found | ({"token_type_ids": found["input_ids"].eq(IMAGE).long()} if family is gemma3 else {})


pytestmark = pytest.mark.filterwarnings("ignore:Casting complex values:UserWarning")  # a tower's rotary table


@every_family
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_equals_dense_gradients(family: Callable[..., Built], tied: bool) -> None:
    student = random_student(family, tied)
    cots = student.cotangents()
    expected = plain_grams(student, cots, student.groups())
    for options in ({}, {"chunk": 1}, {"batched": False}):
        assert_equal_groups(student.grams(cots, **options), expected)


REMAINS_DENSE = r"bias$|conv1d|positional_embedding"


@every_family
def test_only_small_matrices_are_taken_densely(family: Callable[..., Built]) -> None:
    student = random_student(family)
    engine = Gramian(student.model, student.groups())
    student.grams(student.cotangents(), engine)
    names = {parameter: name for name, parameter in student.model.named_parameters()}
    assert all(re.search(REMAINS_DENSE, names[parameter]) for parameter in engine.watched.dense_matrices)
    stacks = {parameter for parameter in names if parameter.ndim == 3}
    assert stacks or family is gemma3
    assert engine.unreached() == []


@every_family
def test_float32_on_the_whole_model(family: Callable[..., Built]) -> None:
    """Against float64 arithmetic on the same weights."""
    student = random_student(family, dtype=torch.float32)
    exact = student.to(torch.float64)
    cots = exact.cotangents()
    expected = sum(plain_grams(exact, cots, exact.groups()).values())
    assert worst(sum(student.grams(cots).values()), expected) <= 2e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # the newer name is not in all versions
def test_gradient_checkpointing() -> None:
    student = random_student(qwen3_vl_moe, dtype=torch.float32)
    cots = student.cotangents()
    expected = student.grams(cots)
    student.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert student.model.train().is_gradient_checkpointing
    for name, gram in student.grams(cots).items():
        torch.testing.assert_close(gram, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", [qwen3_vl_moe, gpt_oss, gemma3])
def test_in_the_metric_of_adam(family: Callable[..., Built]) -> None:
    """A gradient times the root of the metric is the gradient in weights that are measured in other units."""
    student = random_student(family)
    cots, groups = student.cotangents(), student.groups()
    metric = {p: normal(*p.shape, seed=n).square() for n, p in enumerate(student.model.parameters())}
    found = student.grams(cots, Gramian(student.model, groups, metric=metric))
    image, text = (view(torch.arange(N_TOKENS)) for view in (student.image, student.text))
    logits = {"visual": image, "prior": image, "language": text, "shift": text}
    members = [parameter for group in groups.values() for parameter in group]
    roots = torch.cat([metric[parameter].sqrt().flatten() for parameter in members])
    for unit, weights in enumerate(UNITS):
        seeds = {name: weights.unsqueeze(-1) * getattr(cots, name) for name in logits}
        rows = torch.stack([roots * dense_gradient(logits[name], seed, members) for name, seed in seeds.items()])
        torch.testing.assert_close(sum(found.values())[unit], rows @ rows.T, rtol=1e-9, atol=1e-12)


class Largest(TorchDispatchMode):
    """The most bytes of a tensor that is made while it is active."""

    nbytes = 0
    parameters: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = [x.untyped_storage().nbytes() for x in tree_leaves(made) if isinstance(x, Tensor) and not _owned(x)]
        self.nbytes = max([self.nbytes, *sizes])
        return made


def _owned(tensor: Tensor) -> bool:
    """Whether the memory is a parameter's, of which a view was made."""
    return tensor.untyped_storage().data_ptr() in Largest.parameters


def largest(student: Student) -> int:
    """The bytes of the largest tensor that the engine makes."""
    Largest.parameters = {p.untyped_storage().data_ptr() for p in student.model.parameters()}
    engine, cots = Gramian(student.model, student.groups(), chunk=1), student.cotangents()
    with Largest() as mode:
        student.grams(cots, engine)
    return mode.nbytes


@pytest.mark.parametrize("family", [pytest.param(qwen3_vl_moe, marks=pytest.mark.slow), gemma3])
def test_no_gradient_of_a_whole_stack_or_vocabulary_is_made(
    family: Callable[..., Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MIXTURE, "num_experts", 256)
    monkeypatch.setitem(TEXT, "vocab_size", 4000)
    student = random_student(family, dtype=torch.float32)
    size = 4 * max(parameter.numel() for parameter in student.model.parameters())
    assert largest(student) < 2 * size  # of the head's outputs, at all positions
    monkeypatch.setattr(Watched, "_read_off", lambda watched, logits: [])
    assert largest(student) >= 4 * size
