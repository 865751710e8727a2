"""Families that cut a picture into tiles, and those near them: Idefics, InternVL, Aya, Ovis, Cohere, LFM2, MiniCPM."""

from typing import Any

import transformers as tf

from tests.families import templates
from tests.families.llava import qwen2, siglip
from tests.families.qwen import hybrid
from tests.families.registry import Made, family
from tests.families.tokenizers import Size, fields, ids, processor, rows, text, tokenizer, vision

_TILES = ["<fake_token_around_image>", "<image>", "<global-img>"]
_TILES += [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
_IDEFICS_TOWER = vision(image_size=32, patch_size=8)
_SQUARE = {"height": 28, "width": 28}


def _idefics_parts(kind: str, marks: list[str], video: str | None, **options: Any) -> tuple[Any, Any]:
    tok = tokenizer(marks, bos="<|im_start|>", eos="<end_of_utterance>", pad="<pad>")
    template = templates.of(templates.SMOL, "<image>", BEGIN="<|im_start|>")
    made = processor(kind, video, tokenizer=tok, image_seq_len=4, chat_template=template, **options)
    return tok, made


@family("Idefics 3")
def idefics3(size: Size) -> Made:
    edges = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    images = tf.Idefics3ImageProcessorPil(**edges)
    tok, made = _idefics_parts("Idefics3Processor", _TILES, None, image_processor=images)
    where = {"image_token_id": ids(tok, "<image>")[0], "scale_factor": 2, "pad_token_id": tok.pad_token_id}
    body = text(size, tok, model_type="llama")
    config = tf.Idefics3Config(text_config=body, vision_config=_IDEFICS_TOWER, **where)
    return tf.Idefics3ForConditionalGeneration(config), made


@family("SmolVLM")
def smolvlm(size: Size) -> Made:
    edges = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    images = tf.SmolVLMImageProcessorPil(**edges)
    marks = [*_TILES, "<video>"]
    tok, made = _idefics_parts("SmolVLMProcessor", marks, "SmolVLMVideoProcessor", image_processor=images)
    where = {"image_token_id": ids(tok, "<image>")[0], "scale_factor": 2, "pad_token_id": tok.pad_token_id}
    body = text(size, tok, model_type="llama")
    config = tf.SmolVLMConfig(text_config=body, vision_config=_IDEFICS_TOWER, tie_word_embeddings=True, **where)
    return tf.SmolVLMForConditionalGeneration(config), made


@family("Idefics 2")
def idefics2(size: Size) -> Made:
    marks = ["<fake_token_around_image>", "<image>", "<end_of_utterance>"]
    tok = tokenizer(marks, bos="<s>", eos="</s>", pad="<pad>", writes_bos=True)
    edges = {"longest_edge": 32, "shortest_edge": 16}
    images = tf.Idefics2ImageProcessorPil(size=edges, do_image_splitting=False)
    template = templates.of(templates.SMOL, "<image>", BEGIN="")
    made = tf.Idefics2Processor(images, tok, image_seq_len=4, chat_template=template)
    heads = {"resampler_n_heads": 2, "resampler_head_dim": 8, "num_key_value_heads": 1}
    perceiver = {"resampler_n_latents": 4, "resampler_depth": 1, **heads}
    body, (image,) = text(size, tok, model_type="mistral"), ids(tok, "<image>")
    towers = {"vision_config": _IDEFICS_TOWER, "perceiver_config": perceiver}
    config = tf.Idefics2Config(text_config=body, image_token_id=image, **towers)
    return tf.Idefics2ForConditionalGeneration(config), made


def _patches() -> Any:
    return tf.GotOcr2ImageProcessorPil(size=_SQUARE, crop_to_patches=True, min_patches=1, max_patches=3)


@family("InternVL")
def internvl(size: Size) -> Made:
    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    named["video_token"] = "<video>"
    tok = tokenizer(["<|im_start|>"], eos="<|im_end|>", pad="<|endoftext|>", named=named)
    template = templates.of(templates.CHATML, "<IMG_CONTEXT>\n")
    parts = {"image_processor": _patches(), "tokenizer": tok, "image_seq_length": 4, "chat_template": template}
    made = processor("InternVLProcessor", "InternVLVideoProcessor", **parts)
    tower = vision(image_size=[28, 28], patch_size=[7, 7])
    where = {"image_token_id": ids(tok, "<IMG_CONTEXT>")[0], "image_seq_length": 4, "tie_word_embeddings": False}
    config = tf.InternVLConfig(text_config=qwen2(size, tok, 9), vision_config=tower, **where)
    return tf.InternVLForConditionalGeneration(config), made


def _cohere(size: Size, tok: Any) -> dict[str, Any]:
    """A text model whose logits are scaled by a constant."""
    return text(size, tok, model_type="cohere2", head_dim=None, sliding_window=64, logit_scale=0.25)


_COHERE = ["<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"]
_COHERE_ROLES: dict[str, Any] = {"bos": "<BOS_TOKEN>", "eos": "<|END_OF_TURN_TOKEN|>", "pad": "<PAD>"}


@family("Aya Vision")
def aya_vision(size: Size) -> Made:
    """The marks of its tiles are added, and not special."""
    tiles = [*(f"TILE_{number}" for number in range(1, 13)), "TILE_GLOBAL"]
    marks = [*_COHERE, "<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>"]
    tok = tokenizer(marks, writes_bos=True, plain=tiles, **_COHERE_ROLES)
    cells = {"patch_size": 7, "img_size": 28, "downsample_factor": 2}
    made = tf.AyaVisionProcessor(_patches(), tok, chat_template=templates.of(templates.COHERE, "<image>"), **cells)
    where = {"image_token_index": ids(tok, "<|IMG_PATCH|>")[0], "downsample_factor": 2}
    config = tf.AyaVisionConfig(text_config=_cohere(size, tok), vision_config=siglip(28, 7), **where)
    return tf.AyaVisionForConditionalGeneration(config), made


@family("Cohere 2 Vision", torchvision=True)
def cohere2_vision(size: Size) -> Made:
    named = {"boi_token": "<|START_OF_IMG|>", "eoi_token": "<|END_OF_IMG|>", "image_token": "<|IMG_PATCH|>"}
    named["img_line_break_token"] = "<|IMG_LINE_BREAK|>"
    tok = tokenizer(_COHERE, writes_bos=True, named=named, **_COHERE_ROLES)
    images = tf.Cohere2VisionImageProcessor(size=_SQUARE, max_patches=3, patch_size=2)
    made = tf.Cohere2VisionProcessor(images, tok, chat_template=templates.of(templates.COHERE, "<|IMG_PATCH|>"))
    where = {"image_token_id": ids(tok, "<|IMG_PATCH|>")[0], "downsample_factor": 2, "alignment_intermediate_size": 64}
    config = tf.Cohere2VisionConfig(text_config=_cohere(size, tok), vision_config=siglip(28, 7), **where)
    return tf.Cohere2VisionForConditionalGeneration(config), made


@family("Ovis 2")
def ovis2(size: Size) -> Made:
    marks = ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    named = {"image_token": "<image>"}
    tok = tokenizer(["<|im_start|>", "<IMG_ATOM>", *marks], eos="<|im_end|>", pad="<|endoftext|>", named=named)
    images = tf.Ovis2ImageProcessorPil(size=_SQUARE, max_patches=3, min_patches=1)
    made = tf.Ovis2Processor(images, tok, image_seq_length=4, chat_template=templates.of(templates.CHATML, "<image>\n"))
    tower = vision(image_size=28, patch_size=7, hidden_stride=2, vocab_size=24)
    where = {"image_token_id": ids(tok, "<IMG_ATOM>")[0], "visual_indicator_token_ids": ids(tok, *marks)}
    sizes = {"vocab_size": rows(tok), "hidden_size": size.width, "tie_word_embeddings": True}
    config = tf.Ovis2Config(text_config=qwen2(size, tok), vision_config=tower, **where, **sizes)
    return tf.Ovis2ForConditionalGeneration(config), made


@family("LFM2-VL", torchvision=True)
def lfm2_vl(size: Size) -> Made:
    """Short convolutions and attention."""
    named = {"image_token": "<image>", "image_start_token": "<|image_start|>", "image_end_token": "<|image_end|>"}
    named["image_thumbnail"] = "<|img_thumbnail|>"
    grid = [f"<|img_row_{row}_col_{column}|>" for row in range(1, 3) for column in range(1, 3)]
    marks = ["<|im_start|>", *grid]
    tok = tokenizer(marks, bos="<|startoftext|>", eos="<|im_end|>", pad="<|pad|>", named=named)
    tiles = {"tile_size": 64, "min_tiles": 2, "max_tiles": 4, "do_image_splitting": False}
    images = tf.Lfm2VlImageProcessor(encoder_patch_size=16, min_image_tokens=1, max_image_tokens=4, **tiles)
    made = tf.Lfm2VlProcessor(images, tok, chat_template="{{ bos_token }}" + templates.of(templates.CHATML, "<image>"))
    kinds = {"layer_types": ["conv", "full_attention"], "conv_L_cache": 3, "block_auto_adjust_ff_dim": False}
    body = text(size, tok, model_type="lfm2", head_dim=None, **kinds)
    tower = vision(model_type="siglip2_vision_model", num_patches=16, patch_size=16, vision_use_head=False)
    where = {"image_token_id": ids(tok, "<image>")[0], "downsample_factor": 2, "projector_hidden_size": 48}
    config = tf.Lfm2VlConfig(text_config=body, vision_config=tower, **where)
    return tf.Lfm2VlForConditionalGeneration(config), made


@family("MiniCPM-V 4.6", torchvision=True)
def minicpmv4_6(size: Size) -> Made:
    """Its forward pass keeps every column; pictures are cut into slices, framed and numbered."""
    frames = {"image_start_token": "<image>", "image_end_token": "</image>"}
    frames |= {"slice_start_token": "<slice>", "slice_end_token": "</slice>"}
    frames |= {"image_id_start_token": "<image_id>", "image_id_end_token": "</image_id>"}
    named = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>", **frames}
    tok = tokenizer(["<|im_start|>"], eos="<|im_end|>", pad="<|endoftext|>", named=named)
    images = tf.MiniCPMV4_6ImageProcessorPil(scale_resolution=112, patch_size=14, max_slice_nums=3)
    template = templates.of(templates.CHATML, "<|image_pad|>")
    made = tf.MiniCPMV4_6Processor(images, tf.MiniCPMV4_6VideoProcessor(), tok, chat_template=template)
    where = fields(tok, image_token_id="<|image_pad|>", video_token_id="<|video_pad|>")
    tower = vision(image_size=112, patch_size=14, num_hidden_layers=3)
    body = hybrid(size, tok, model_type="qwen3_5_text")
    config = tf.MiniCPMV4_6Config(text_config=body, vision_config=tower, insert_layer_id=1, image_size=112, **where)
    return tf.MiniCPMV4_6ForConditionalGeneration(config), made
