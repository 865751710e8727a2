"""Random checkpoints of published shapes: the real vocabulary and pictures of any number of tokens.

The prompts of the bundled pair fit them, as their words are in the vocabulary. A random model hardly ever draws the
end token, so that responses have the greatest length that is allowed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)

from bundled import architecture
from vlm.checkpoints.processors import without_video

WORDS, ROWS = 151_669, 151_936
"""Of the published Qwen3-VL: tokens of the tokenizer, and rows of the embedding and of the head."""
PATCH_PX, MERGE = 16, 2


class Shape(NamedTuple):
    """Sizes of a Qwen3-VL; those published are in `SHAPES`."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vision_width: int
    vision_layers: int
    vision_heads: int = 16
    vision_mlp: int = 4096
    deepstack: tuple[int, ...] = (5, 11, 17)
    head_dim: int = 128
    tied: bool = True


SHAPES: Mapping[str, Shape] = {
    "narrow": Shape(256, 2, 2, 1, 768, 128, 2, 4, 256, (0,)),
    "2b": Shape(2048, 28, 16, 8, 6144, 1024, 24),
    "4b": Shape(2560, 36, 32, 8, 9728, 1024, 24),
    "8b": Shape(4096, 36, 32, 8, 12288, 1152, 27, 16, 4304, (8, 16, 24), tied=False),
}
"""Widths and depths of Qwen3-VL by its published names, and one as narrow as the vocabulary allows."""


def config(shape: Shape) -> Qwen3VLConfig:
    """Return the configuration of a model with the published vocabulary."""
    ids = {token: index for index, token in enumerate(architecture.SPECIALS)}
    half = shape.head_dim // 2
    text: dict[str, Any] = {
        "vocab_size": ROWS,
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": 262_144,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [half - 2 * (half // 3), half // 3, half // 3],
        },
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "tie_word_embeddings": shape.tied,
    }
    vision = {
        "depth": shape.vision_layers,
        "hidden_size": shape.vision_width,
        "intermediate_size": shape.vision_mlp,
        "num_heads": shape.vision_heads,
        "patch_size": PATCH_PX,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "out_hidden_size": shape.width,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": list(shape.deepstack),
    }
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=shape.tied,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )


def processor(visual_tokens: int, context: int = 262_144) -> ProcessorMixin:
    """Return a processor that makes about `visual_tokens` of any picture, with a word for each id."""
    pixels = visual_tokens * (PATCH_PX * MERGE) ** 2
    images = Qwen2VLImageProcessorPil(
        size={"shortest_edge": pixels, "longest_edge": pixels},
        patch_size=PATCH_PX,
        merge_size=MERGE,
        temporal_patch_size=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return without_video(Qwen3VLProcessor)(
        image_processor=images, tokenizer=_tokenizer(context), chat_template=architecture.CHAT_TEMPLATE
    )


def write_checkpoint(
    folder: Path, shape: Shape, *, visual_tokens: int = 64, dtype: torch.dtype = torch.float32, seed: int = 0
) -> Path:
    """Save a random model with its processor; return the folder."""
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        model = Qwen3VLForConditionalGeneration(config(shape))
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    processor(visual_tokens).save_pretrained(folder)
    return folder


def write_pair(folder: Path, student: Shape, teacher: Shape, **options: Any) -> tuple[Path, Path]:
    """Save a student and a teacher that differ in their weights; return their folders."""
    return (
        write_checkpoint(folder / "student", student, **options | {"seed": 0}),
        write_checkpoint(folder / "teacher", teacher, **options | {"seed": 1}),
    )


def _tokenizer(context: int) -> PreTrainedTokenizerFast:
    """The words of the bundled tasks and as many more as the published vocabulary has."""
    known = [*architecture.SPECIALS, *architecture.words()]
    vocabulary = {token: index for index, token in enumerate(known)}
    vocabulary |= {f"w{index}": index for index in range(len(known), WORDS)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unk|>"))
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(r"</?reason>|\\boxed\{|w[0-9]+|[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]"), "isolated"),
        ]
    )
    raw.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<|unk|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[
            s for s in architecture.SPECIALS if s not in ("<|unk|>", "<|im_end|>", "<|endoftext|>")
        ],
        padding_side="left",
        model_max_length=context,
    )
