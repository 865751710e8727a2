"""The two architectures of the bundled pair and the processor they share, all built from transformers' own classes."""

import re
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)

from bundled.scenes import SIZE_PX
from bundled.tasks import TASKS, sample
from vlm.checkpoints.processors import without_video

PATCH_PX, MERGE = 12, 2
SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|unk|>",
)
ROLES = ("system", "user", "assistant")
# Rows of the embedding and the head: more than there are words, as in the Qwen models.
VOCAB_ROWS = 192
_PIECE = r"</?reason>|\\boxed\{|[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]"

# Line breaks are written as expressions: the template language would swallow plain ones.
_BREAK = "{{ '\n' }}"
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "<|im_start|>{{ message.role }}" + _BREAK + "{%- if message.content is string -%}{{ message.content }}"
    "{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- else -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}<|im_end|>" + _BREAK + "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant" + _BREAK + "{%- endif -%}"
)

# Layers and widths. The student is smaller in every part.
TEACHER = {"layers": 4, "width": 192, "heads": 6, "mlp": 512, "vision_layers": 4, "vision_width": 128}
STUDENT = {"layers": 3, "width": 128, "heads": 4, "mlp": 352, "vision_layers": 3, "vision_width": 96}


def words() -> list[str]:
    """Every word the tasks can say, sorted; read off the tasks themselves, so that the two cannot differ."""
    words = set(ROLES) | {str(number) for number in range(19)}
    for task in TASKS:
        rng = Random(0)
        for _ in range(600):
            example = sample(task, rng)
            words.update(re.findall(_PIECE, f"{example.question} {example.response}"))
    return sorted(words)


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer: specials first, then `words()`."""
    vocabulary = {token: index for index, token in enumerate((*SPECIALS, *words()))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unk|>"))
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(_PIECE), "isolated")]
    )
    raw.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<|unk|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[s for s in SPECIALS if s not in ("<|unk|>", "<|im_end|>", "<|endoftext|>")],
        padding_side="left",
        model_max_length=512,
    )


def processor() -> ProcessorMixin:
    images = Qwen2VLImageProcessorPil(
        size={"shortest_edge": SIZE_PX * SIZE_PX, "longest_edge": SIZE_PX * SIZE_PX},
        patch_size=PATCH_PX,
        merge_size=MERGE,
        temporal_patch_size=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return without_video(Qwen3VLProcessor)(image_processor=images, tokenizer=tokenizer(), chat_template=CHAT_TEMPLATE)


def config(sizes: dict[str, int]) -> Qwen3VLConfig:
    ids = {token: index for index, token in enumerate(SPECIALS)}
    text = {
        "vocab_size": VOCAB_ROWS,
        "hidden_size": sizes["width"],
        "intermediate_size": sizes["mlp"],
        "num_hidden_layers": sizes["layers"],
        "num_attention_heads": sizes["heads"],
        "num_key_value_heads": sizes["heads"] // 2,
        "head_dim": 32,
        "initializer_range": sizes["width"] ** -0.5,
        "max_position_embeddings": 512,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [6, 5, 5]},
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": sizes["vision_layers"],
        "hidden_size": sizes["vision_width"],
        "intermediate_size": 2 * sizes["vision_width"],
        "num_heads": 4,
        "patch_size": PATCH_PX,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "out_hidden_size": sizes["width"],
        "initializer_range": sizes["vision_width"] ** -0.5,
        "num_position_embeddings": (SIZE_PX // PATCH_PX) ** 2,
        "deepstack_visual_indexes": [1],
    }
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=True,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )


def build(sizes: dict[str, int]) -> Qwen3VLForConditionalGeneration:
    """A model with random weights from the global generator; embedding and head share one matrix."""
    return Qwen3VLForConditionalGeneration(config(sizes))
