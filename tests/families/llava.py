"""LLaVA and those built as it is: a vision tower, a projector, a text model."""

from typing import Any

import transformers as tf

from tests.families import templates
from tests.families.registry import Made, family
from tests.families.tokenizers import Size, ids, processor, text, tokenizer, vision

_PINPOINTS = [[28, 56], [56, 28], [56, 56]]
_SQUARE = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
_PATCHES = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}


def clip(image_size: int = 28, patch_size: int = 14) -> dict[str, Any]:
    """The config of a CLIP tower."""
    sizes = {"image_size": image_size, "patch_size": patch_size, "projection_dim": 32}
    return vision(model_type="clip_vision_model", **sizes)


def siglip(image_size: int = 28, patch_size: int = 14) -> dict[str, Any]:
    """The config of a SigLIP tower without a head."""
    sizes = {"image_size": image_size, "patch_size": patch_size}
    return vision(model_type="siglip_vision_model", vision_use_head=False, **sizes)


def qwen2(size: Size, tok: Any, padding: int = 0) -> dict[str, Any]:
    """The config of a Qwen2 text model."""
    return text(size, tok, padding, model_type="qwen2", head_dim=None)


def _llama_tokenizer() -> Any:
    return tokenizer(["<unk>", "<image>"], bos="<s>", eos="</s>", pad="<pad>", writes_bos=True)


def _llava_parts() -> tuple[Any, Any, int]:
    tok = _llama_tokenizer()
    template = templates.of(templates.USER, "<image>\n")
    made = tf.LlavaProcessor(tf.CLIPImageProcessorPil(**_SQUARE), tok, chat_template=template, **_PATCHES)
    return tok, made, ids(tok, "<image>")[0]


@family("LLaVA 1.5")
def llava(size: Size) -> Made:
    tok, made, image = _llava_parts()
    body = text(size, tok, 20, model_type="llama")
    config = tf.LlavaConfig(text_config=body, vision_config=clip(), image_token_index=image, image_seq_length=4)
    return tf.LlavaForConditionalGeneration(config), made


@family("VipLLaVA")
def vipllava(size: Size) -> Made:
    tok, made, image = _llava_parts()
    body = text(size, tok, model_type="llama")
    where = {"image_token_index": image, "vision_feature_layers": [-1, -2], "image_seq_length": 4}
    config = tf.VipLlavaConfig(text_config=body, vision_config=clip(), **where)
    return tf.VipLlavaForConditionalGeneration(config), made


def _next(body: dict[str, Any], tok: Any) -> Made:
    """LLaVA-NeXT around a text model."""
    images = tf.LlavaNextImageProcessorPil(**_SQUARE, image_grid_pinpoints=_PINPOINTS)
    template = templates.of(templates.BRACKETS, "<image>\n")
    made = tf.LlavaNextProcessor(images, tok, chat_template=template, **_PATCHES)
    where = {"image_token_index": ids(tok, "<image>")[0], "image_seq_length": 4}
    config = tf.LlavaNextConfig(text_config=body, vision_config=clip(), image_grid_pinpoints=_PINPOINTS, **where)
    return tf.LlavaNextForConditionalGeneration(config), made


@family("LLaVA-NeXT")
def llava_next(size: Size) -> Made:
    tok = _llama_tokenizer()
    return _next(text(size, tok, model_type="mistral"), tok)


@family("LLaVA-NeXT, scaled logits")
def llava_next_scaled(size: Size) -> Made:
    """A Granite text model divides its logits by a constant behind the head."""
    tok = _llama_tokenizer()
    return _next(text(size, tok, model_type="granite", head_dim=None, logits_scaling=8.0), tok)


@family("LLaVA-OneVision")
def llava_onevision(size: Size) -> Made:
    tok = tokenizer(["<|im_start|>", "<image>", "<video>"], eos="<|im_end|>", pad="<|endoftext|>")
    images = tf.LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=_PINPOINTS)
    made = processor(
        "LlavaOnevisionProcessor",
        "LlavaOnevisionVideoProcessor",
        image_processor=images,
        tokenizer=tok,
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
        chat_template=templates.of(templates.CHATML, "<image>\n"),
    )
    image, video = ids(tok, "<image>", "<video>")
    where = {"image_token_index": image, "video_token_index": video, "image_grid_pinpoints": _PINPOINTS}
    body = qwen2(size, tok, 30)
    config = tf.LlavaOnevisionConfig(text_config=body, vision_config=siglip(), tie_word_embeddings=True, **where)
    return tf.LlavaOnevisionForConditionalGeneration(config), made


def _pixtral_parts(merge: int) -> tuple[Any, Any, dict[str, Any], int]:
    """Tokenizer, processor, vision tower, and the id of a picture."""
    named = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}
    tok = tokenizer(["[INST]", "[/INST]"], bos="<s>", eos="</s>", pad="<pad>", writes_bos=True, named=named)
    images = tf.PixtralImageProcessorPil(size={"longest_edge": 56}, patch_size=14)
    template = templates.of(templates.BRACKETS, "[IMG]")
    made = tf.PixtralProcessor(images, tok, patch_size=14, spatial_merge_size=merge, chat_template=template)
    tower = vision(model_type="pixtral", image_size=56, patch_size=14, head_dim=16)
    return tok, made, tower, ids(tok, "[IMG]")[0]


@family("Pixtral", torchvision=True)
def pixtral(size: Size) -> Made:
    tok, made, tower, image = _pixtral_parts(1)
    body = text(size, tok, model_type="mistral")
    where = {"image_token_index": image, "vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
    config = tf.LlavaConfig(text_config=body, vision_config=tower, **where)
    return tf.LlavaForConditionalGeneration(config), made


@family("Mistral 3", torchvision=True)
def mistral3(size: Size) -> Made:
    tok, made, tower, image = _pixtral_parts(2)
    body = text(size, tok, model_type="mistral")
    where = {"image_token_index": image, "spatial_merge_size": 2, "tie_word_embeddings": False}
    config = tf.Mistral3Config(text_config=body, vision_config=tower, **where)
    return tf.Mistral3ForConditionalGeneration(config), made


@family("DeepSeek-VL")
def deepseek_vl(size: Size) -> Made:
    named = {"image_token": "<image_placeholder>"}
    tok = tokenizer([], bos="<bos>", eos="<eos>", pad="<pad>", writes_bos=True, named=named)
    images = tf.DeepseekVLImageProcessorPil(size={"height": 28, "width": 28}, min_size=14)
    template = templates.of(templates.PLAIN, "<image_placeholder>")
    made = tf.DeepseekVLProcessor(images, tok, chat_template=template, num_image_tokens=4)
    body, (image,) = text(size, tok, model_type="llama"), ids(tok, "<image_placeholder>")
    config = tf.DeepseekVLConfig(text_config=body, vision_config=siglip(), image_token_id=image)
    return tf.DeepseekVLForConditionalGeneration(config), made
