"""Qwen's vision-language models, dense and with experts."""

from typing import Any

import transformers as tf

from tests.families import templates
from tests.families.registry import Made, family
from tests.families.tokenizers import Size, fields, processor, text, tokenizer

_MARKS = ["<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
_PADDING = 40
_EXPERTS = {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2}


def _parts(kind: str, patch: int) -> tuple[Any, Any, dict[str, int]]:
    """Tokenizer, processor, and the ids that a config names."""
    tok = tokenizer([*_MARKS, "<|object_ref_start|>"], eos="<|im_end|>", pad="<|endoftext|>")
    cell = (2 * patch) ** 2
    images = tf.Qwen2VLImageProcessorPil(
        patch_size=patch,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 4 * cell, "longest_edge": 12 * cell},
    )
    template = templates.of(templates.CHATML, "<|vision_start|><|image_pad|><|vision_end|>")
    made = processor(kind, "Qwen2VLVideoProcessor", image_processor=images, tokenizer=tok, chat_template=template)
    named = fields(
        tok,
        image_token_id="<|image_pad|>",
        video_token_id="<|video_pad|>",
        vision_start_token_id="<|vision_start|>",
        vision_end_token_id="<|vision_end|>",
    )
    return tok, made, named


def _rope(size: Size) -> dict[str, Any]:
    """Rotary positions whose frequencies are dealt to time, rows and columns."""
    pairs, each = size.width // 4, size.width // 16
    return {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [pairs - 2 * each, each, each]}


@family("Qwen2-VL")
def qwen2_vl(size: Size) -> Made:
    tok, made, named = _parts("Qwen2VLProcessor", 14)
    tower = {"depth": 2, "embed_dim": 32, "hidden_size": size.width, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
    body = text(size, tok, _PADDING, head_dim=None, rope_parameters=_rope(size))
    config = tf.Qwen2VLConfig(text_config=body, vision_config=tower, tie_word_embeddings=True, **named)
    return tf.Qwen2VLForConditionalGeneration(config), made


@family("Qwen2.5-VL")
def qwen2_5_vl(size: Size) -> Made:
    tok, made, named = _parts("Qwen2_5_VLProcessor", 14)
    tower = _tower(size, patch_size=14, fullatt_block_indexes=[1], window_size=56)
    body = text(size, tok, _PADDING, head_dim=None, rope_parameters=_rope(size))
    config = tf.Qwen2_5_VLConfig(text_config=body, vision_config=tower, tie_word_embeddings=False, **named)
    return tf.Qwen2_5_VLForConditionalGeneration(config), made


def _tower(size: Size, **more: Any) -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": 32,
        "out_hidden_size": size.width,
        "num_heads": 2,
        "intermediate_size": 48,
        **more,
    }


def _tower3(size: Size, **more: Any) -> dict[str, Any]:
    return _tower(size, patch_size=16, num_position_embeddings=16, **more)


@family("Qwen3-VL")
def qwen3_vl(size: Size) -> Made:
    tok, made, named = _parts("Qwen3VLProcessor", 16)
    body = text(size, tok, _PADDING, rope_parameters=_rope(size))
    tower = _tower3(size, deepstack_visual_indexes=[0])
    config = tf.Qwen3VLConfig(text_config=body, vision_config=tower, tie_word_embeddings=True, **named)
    return tf.Qwen3VLForConditionalGeneration(config), made


@family("Qwen3-VL, experts")
def qwen3_vl_moe(size: Size) -> Made:
    tok, made, named = _parts("Qwen3VLProcessor", 16)
    body = text(size, tok, _PADDING, rope_parameters=_rope(size), **_EXPERTS)
    tower = _tower3(size, deepstack_visual_indexes=[0])
    config = tf.Qwen3VLMoeConfig(text_config=body, vision_config=tower, **named)
    return tf.Qwen3VLMoeForConditionalGeneration(config), made


def hybrid(size: Size, tok: Any, **more: Any) -> dict[str, Any]:
    """A text model of one layer of linear and one of full attention."""
    linear = {"linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1], "partial_rotary_factor": 0.25}
    kinds = ["linear_attention", "full_attention"]
    options = linear | {"linear_num_value_heads": 4, "layer_types": kinds, "rope_parameters": rope}
    return text(size, tok, _PADDING, head_dim=32, **options, **more)


@family("Qwen3.5")
def qwen3_5(size: Size) -> Made:
    tok, made, named = _parts("Qwen3VLProcessor", 16)
    config = tf.Qwen3_5Config(text_config=hybrid(size, tok), vision_config=_tower3(size), **named)
    return tf.Qwen3_5ForConditionalGeneration(config), made


@family("Qwen3.5, experts")
def qwen3_5_moe(size: Size) -> Made:
    tok, made, named = _parts("Qwen3VLProcessor", 16)
    body = hybrid(size, tok, shared_expert_intermediate_size=24, **_EXPERTS)
    config = tf.Qwen3_5MoeConfig(text_config=body, vision_config=_tower3(size), **named)
    return tf.Qwen3_5MoeForConditionalGeneration(config), made
