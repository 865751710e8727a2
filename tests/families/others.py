"""Gemma, PaliGemma, GLM, Llama, Janus, Kimi."""

from typing import Any

import transformers as tf

from tests.families import templates
from tests.families.llava import siglip
from tests.families.registry import Made, family
from tests.families.tokenizers import Size, fields, ids, processor, rows, text, tokenizer, vision

_GEMMA: dict[str, Any] = {"bos": "<bos>", "eos": "<eos>", "pad": "<pad>"}


@family("Gemma 3")
def gemma3(size: Size) -> Made:
    """Scaled embeddings; its line breaks are added tokens, and stand round a picture."""
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    turns = ["<start_of_turn>", "<end_of_turn>"]
    tok = tokenizer(turns, writes_bos=True, named=named, plain=["\n\n", "<table>"], **_GEMMA)
    images = tf.Gemma3ImageProcessorPil(size={"height": 28, "width": 28}, image_seq_length=4)
    template = templates.of(templates.GEMMA, "<start_of_image>", OPEN=turns[0], CLOSE=turns[1])
    made = tf.Gemma3Processor(images, tok, image_seq_length=4, chat_template=template)
    marks = {"boi_token_index": "<start_of_image>", "eoi_token_index": "<end_of_image>"}
    where = fields(tok, image_token_index="<image_soft_token>", **marks)
    kinds = ["sliding_attention", "full_attention"]
    body = text(size, tok, 7, sliding_window=16, layer_types=kinds)
    config = tf.Gemma3Config(text_config=body, vision_config=siglip(28, 7), mm_tokens_per_image=4, **where)
    model = tf.Gemma3ForConditionalGeneration(config)
    ends = [tok.eos_token_id, *ids(tok, turns[1])]
    model.generation_config = tf.GenerationConfig(
        do_sample=True, top_k=64, top_p=0.95, temperature=0.7, eos_token_id=ends, pad_token_id=tok.pad_token_id
    )
    return model, made


def _gemma4(size: Size, cap: float | None) -> Made:
    named = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>", "audio_token": "<|audio|>"}
    named |= {"boa_token": "<|audio>", "eoa_token": "<audio|>"}
    tok = tokenizer(["<|turn>", "<turn|>", "<|video|>"], writes_bos=True, named=named, **_GEMMA)
    made = tf.Gemma4Processor(
        feature_extractor=tf.Gemma4AudioFeatureExtractor(),
        image_processor=tf.Gemma4ImageProcessorPil(patch_size=8, max_soft_tokens=70, pooling_kernel_size=2),
        tokenizer=tok,
        video_processor=tf.Gemma4VideoProcessor(),
        chat_template=templates.of(templates.GEMMA, "<|image|>", OPEN="<|turn>", CLOSE="<turn|>"),
        image_seq_length=70,
    )
    marks = {"image_token_id": "<|image|>", "boi_token_id": "<|image>", "eoi_token_id": "<image|>"}
    kinds = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 64, "num_kv_shared_layers": 0}
    inputs = {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": rows(tok)}
    body = text(size, tok, final_logit_softcapping=cap, **kinds, **inputs)
    tower = vision(head_dim=16, num_key_value_heads=2, patch_size=8, pooling_kernel_size=2)
    where = fields(tok, video_token_id="<|video|>", **marks)
    config = tf.Gemma4Config(text_config=body, vision_config=tower, audio_config=None, **where)
    return tf.Gemma4ForConditionalGeneration(config), made


@family("Gemma 4", torchvision=True)
def gemma4(size: Size) -> Made:
    return _gemma4(size, None)


@family("Gemma 4, capped logits", torchvision=True)
def gemma4_capped(size: Size) -> Made:
    return _gemma4(size, 5.0)


def _paligemma(size: Size, template: str | None) -> Made:
    tok = tokenizer([], named={"image_token": "<image>"}, **_GEMMA)
    images = tf.SiglipImageProcessorPil(size={"height": 28, "width": 28})
    images.image_seq_length = 4
    made = tf.PaliGemmaProcessor(images, tok, chat_template=template)
    where = {"image_token_index": ids(tok, "<image>")[0], "projection_dim": size.width}
    body = text(size, tok, model_type="gemma")
    config = tf.PaliGemmaConfig(text_config=body, vision_config=siglip(), **where)
    return tf.PaliGemmaForConditionalGeneration(config), made


@family("PaliGemma", refused="no chat template")
def paligemma(size: Size) -> Made:
    return _paligemma(size, None)


@family("PaliGemma, a template added", refused="cannot have two views")
def paligemma_chat(size: Size) -> Made:
    return _paligemma(size, templates.of(templates.PLAIN, "<image>"))


_GLM = ["[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|image|>", "<|video|>"]
_GLM += ["<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"]


def _glm(size: Size, name: str) -> Made:
    tok = tokenizer(_GLM, eos="<|endoftext|>", pad="<|endoftext|>")
    edges = {"shortest_edge": 4 * 28 * 28, "longest_edge": 12 * 28 * 28}
    cells = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2, "size": edges}
    images = getattr(tf, f"{name}ImageProcessorPil")(**cells)
    template = templates.of(templates.GLM, "<|begin_of_image|><|image|><|end_of_image|>")
    parts = {"image_processor": images, "tokenizer": tok, "chat_template": template}
    made = processor(f"{name}Processor", f"{name}VideoProcessor", **parts)
    marks = {"image_token_id": "<|image|>", "video_token_id": "<|video|>"}
    for kind in ("image", "video"):
        marks |= {f"{kind}_start_token_id": f"<|begin_of_{kind}|>", f"{kind}_end_token_id": f"<|end_of_{kind}|>"}
    each = size.width // 32
    section = [size.width // 8 - 2 * each, each, each]
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": section, "partial_rotary_factor": 0.5}
    tower = {"depth": 2, "hidden_size": 32, "out_hidden_size": size.width, "num_heads": 2, "intermediate_size": 48}
    tower |= {"patch_size": 14, "image_size": 56}
    body = text(size, tok, 13, rope_parameters=rope)
    config = getattr(tf, f"{name}Config")(text_config=body, vision_config=tower, **fields(tok, **marks))
    model = getattr(tf, f"{name}ForConditionalGeneration")(config)
    cut = {"do_sample": True, "top_p": 0.6, "temperature": 0.8, "top_k": 2, "repetition_penalty": 1.1}
    ends = [tok.eos_token_id, *ids(tok, "<|user|>")]
    model.generation_config = tf.GenerationConfig(eos_token_id=ends, pad_token_id=tok.pad_token_id, **cut)
    return model, made


@family("GLM-4V")
def glm4v(size: Size) -> Made:
    """What it was published with truncates and penalises; sampling must not."""
    return _glm(size, "Glm4v")


@family("GLM-4.6V")
def glm46v(size: Size) -> Made:
    return _glm(size, "Glm46V")


@family("Mllama")
def mllama(size: Size) -> Made:
    """Text attends across to pictures; the input embedding has more rows than the head."""
    marks = ["<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>", "<|image|>"]
    roles: dict[str, Any] = {"bos": "<|begin_of_text|>", "eos": "<|eot_id|>", "pad": "<|pad|>"}
    tok = tokenizer(marks, writes_bos=True, **roles)
    images = tf.MllamaImageProcessorPil(size={"height": 28, "width": 28}, max_image_tiles=2)
    header = {"<|OPEN|>": marks[0], "<|CLOSE|>": marks[1], "<|EOT|>": "<|eot_id|>"}
    made = tf.MllamaProcessor(images, tok, chat_template=templates.of(templates.LLAMA, "<|image|>", **header))
    body = text(size, tok, head_dim=None, cross_attention_layers=[1], num_hidden_layers=3)
    tower = vision(attention_heads=2, num_global_layers=1, image_size=28, patch_size=14, max_num_tiles=2)
    tower |= {"vision_output_dim": 64, "intermediate_layers_indices": [0]}
    tower |= {"supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]]}
    config = tf.MllamaConfig(text_config=body, vision_config=tower, image_token_index=ids(tok, "<|image|>")[0])
    return tf.MllamaForConditionalGeneration(config), made


@family("Llama 4", torchvision=True)
def llama4(size: Size) -> Made:
    """Experts; its processor makes pixels in bfloat16."""
    marks = ["<|header_start|>", "<|header_end|>", "<|patch|>", "<|image_start|>", "<|image_end|>"]
    marks += ["<|tile_x_separator|>", "<|tile_y_separator|>"]
    roles: dict[str, Any] = {"bos": "<|begin_of_text|>", "eos": "<|eot|>", "pad": "<|finetune_right_pad|>"}
    tok = tokenizer(marks, writes_bos=True, named={"image_token": "<|image|>"}, **roles)
    images = tf.Llama4ImageProcessor(size={"height": 56, "width": 56}, max_patches=2)
    header = {"<|OPEN|>": marks[0], "<|CLOSE|>": marks[1], "<|EOT|>": "<|eot|>"}
    template = templates.of(templates.LLAMA, "<|image|>", **header)
    made = tf.Llama4Processor(images, tok, patch_size=14, pixel_shuffle_ratio=0.5, chat_template=template)
    names = {"image_token_index": "<|patch|>", "boi_token_index": "<|image_start|>", "eoi_token_index": "<|image_end|>"}
    experts = {"intermediate_size_mlp": 48, "num_local_experts": 2, "moe_layers": [1]}
    body = text(size, tok, attention_chunk_size=64, no_rope_layers=[1, 0], **experts)
    widths = {"vision_output_dim": 48, "projector_input_dim": 48, "projector_output_dim": 48}
    tower = vision(intermediate_size=128, image_size=56, patch_size=14, pixel_shuffle_ratio=0.5, **widths)
    config = tf.Llama4Config(text_config=body, vision_config=tower, **fields(tok, **names))
    return tf.Llama4ForConditionalGeneration(config), made


@family("Janus")
def janus(size: Size) -> Made:
    """Its own `generate` drops samplers."""
    named = {"image_token": "<image_placeholder>", "boi_token": "<begin_of_image>", "eoi_token": "<end_of_image>"}
    roles: dict[str, Any] = {"bos": "<s>", "eos": "</s>", "pad": "<pad>"}
    tok = tokenizer(["<|User|>", "<|Assistant|>"], writes_bos=True, named=named, **roles)
    images = tf.JanusImageProcessorPil(size={"height": 28, "width": 28}, min_size=14)
    template = templates.of(templates.JANUS, "<image_placeholder>\n")
    made = tf.JanusProcessor(images, tok, num_image_tokens=4, chat_template=template)
    tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    tower |= {"mlp_ratio": 2.0, "projection_dim": size.width, "num_image_tokens": 4}
    drawn = {"embed_dim": 8, "num_embeddings": 16, "base_channels": 32, "channel_multiplier": [1, 1]}
    drawn |= {"num_res_blocks": 1, "num_patches": 4, "latent_channels": 32}
    drawn |= {"projection_dim": size.width, "image_token_embed_dim": size.width}
    towers = {"vision_config": tower, "vq_config": drawn}
    body, (image,) = text(size, tok, model_type="llama"), ids(tok, "<image_placeholder>")
    config = tf.JanusConfig(text_config=body, image_token_id=image, **towers)
    return tf.JanusForConditionalGeneration(config), made


@family("Kimi K2.5", torchvision=True)
def kimi_k25(size: Size) -> Made:
    """Latent attention and experts; the marks round its pictures speak of media, and one is only in its template."""
    named = {"image_token": "<|media_pad|>", "video_token": "<|kimi_k25_video_placeholder|>"}
    marks = ["<|im_user|>", "<|im_assistant|>", "<|im_middle|>", "<|media_begin|>", "<|media_content|>"]
    roles: dict[str, Any] = {"bos": "[BOS]", "eos": "<|im_end|>", "pad": "[PAD]"}
    tok = tokenizer([*marks, "<|media_end|>"], named=named, **roles)
    images = tf.Kimi_K25ImageProcessor(size={"max_height": 56, "max_width": 56}, patch_size=14, merge_size=2)
    picture = "<|media_begin|>image<|media_content|><|media_pad|><|media_end|>"
    parts = {"image_processor": images, "tokenizer": tok, "chat_template": templates.of(templates.KIMI, picture)}
    made = processor("Kimi_K25Processor", "Kimi_K25VideoProcessor", **parts)
    names = {"image_token_id": "<|media_pad|>", "video_token_id": "<|kimi_k25_video_placeholder|>"}
    names |= {"vision_start_token_id": "<|media_begin|>", "vision_end_token_id": "<|media_end|>"}
    latent = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16}
    experts = {"moe_intermediate_size": 24, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1}
    experts |= {"topk_group": 1, "first_k_dense_replace": 1}
    body = text(size, tok, model_type="deepseek_v3", head_dim=None, num_key_value_heads=2, **latent, **experts)
    tower = vision(patch_size=14, pos_emb_height=8, pos_emb_width=8)
    where = {"projection_hidden_size": 32, **fields(tok, **names)}
    config = tf.Kimi_K25Config(text_config=body, vision_config=tower, **where)
    return tf.Kimi_K25ForConditionalGeneration(config), made
