"""Parameter groups of several families, read off random models that never were on disk."""

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from vlm.checkpoints.checkpoint import LoadedModel
from vlm.families import _depth, _kind, parameter_groups, parameter_kinds, scopes
from vlm.prompts.prompt import Prompt
from vlm.responses.scoring import view_logits
from vlm.views.view import image_view, text_view

TEXT = {
    "vocab_size": 48,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


def llava():
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"image_size": 16, "patch_size": 8, "model_type": "clip_vision_model"}
    text = {**TEXT, "model_type": "llama"}
    return LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text, image_token_id=40, vision_feature_layer=-1)
    )


def idefics3():
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 16, "patch_size": 8}
    text = {**TEXT, "model_type": "llama", "pad_token_id": 0}
    config = Idefics3Config(vision_config=vision, text_config=text, image_token_id=40, pad_token_id=0)
    return Idefics3ForConditionalGeneration(config)


def qwen25():
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "patch_size": 8}
    vision |= {"out_hidden_size": 16, "fullatt_block_indexes": [1], "window_size": 32}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    text = {**TEXT, "rope_parameters": rope}
    ids = {"image_token_id": 40, "video_token_id": 41, "vision_start_token_id": 42, "vision_end_token_id": 43}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids))


@pytest.fixture(scope="module", params=[llava, idefics3, qwen25], ids=lambda build: build.__name__)
def model(request):
    return request.param()


def test_every_parameter_is_in_one_group_and_none_in_other(model):
    groups = parameter_groups(model)
    listed = [id(parameter) for members in groups.values() for parameter in members]
    assert sorted(listed) == sorted(map(id, model.parameters()))
    expected = ["vision_tower", "merger", "embedding_head", "layer_00", "layer_01", "final_norm"]
    assert list(groups) == expected
    assert scopes(groups) == {"all": tuple(expected), "language_model": tuple(expected[2:])}


KINDS = [f"layer_{layer:02d}.{kind}" for layer in range(2) for kind in ("attention", "mlp", "norms")]


def test_kinds_split_the_layers_and_nothing_else(model):
    groups, kinds = parameter_groups(model), parameter_kinds(model)
    assert list(kinds) == ["vision_tower", "merger", "embedding_head", *KINDS, "final_norm"]
    for name, members in groups.items():
        within = [id(p) for kind, parts in kinds.items() if kind.split(".")[0] == name for p in parts]
        assert sorted(within) == sorted(map(id, members))
    assert scopes(kinds)["language_model"] == tuple(kinds)[2:]
    assert all(parameter.ndim == 1 for kind in kinds if kind.endswith(".norms") for parameter in kinds[kind])
    assert all("self_attn" in name for name, p in model.named_parameters() if any(p is q for q in kinds[KINDS[0]]))


def test_a_tied_weight_is_listed_once():
    config = LlavaConfig(
        vision_config={"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        text_config={**TEXT, "model_type": "llama", "tie_word_embeddings": True},
        tie_word_embeddings=True,
        image_token_id=40,
    )
    tied = LlavaForConditionalGeneration(config)
    assert tied.get_input_embeddings().weight is tied.get_output_embeddings().weight
    listed = [id(parameter) for members in parameter_kinds(tied).values() for parameter in members]
    assert len(listed) == len(set(listed)) == len(list(tied.parameters()))
    assert len(parameter_kinds(tied)["embedding_head"]) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.language_model.layers.3.self_attn.q_norm.weight", "layer_03.norms"),  # Qwen3-VL
        ("model.language_model.layers.11.post_feedforward_layernorm.weight", "layer_11.norms"),  # Gemma 3
        ("model.language_model.layers.0.linear_attn.in_proj_qkvz.weight", "layer_00.attention"),  # Qwen3-Next
        ("language_model.model.layers.2.block_sparse_moe.experts.0.w1.weight", "layer_02.mlp"),  # Mixtral
        ("language_model.model.layers.2.feed_forward.router.weight", "layer_02.mlp"),  # Llama 4
        ("transformer.h.1.ln_2.bias", "layer_01.norms"),  # GPT-2
        ("transformer.h.1.attn.c_attn.weight", "layer_01.attention"),
        ("backbone.layers.4.mixer.A_log", "layer_04.other"),  # Mamba
        ("model.vision_tower.encoder.layers.0.self_attn.k_proj.weight", "vision_tower"),
        ("model.image_tower.encoder.layers.0.self_attn.k_proj.weight", "vision_tower"),  # Video-LLaVA
        ("model.vision_tower.vit_merger.norm.weight", "merger"),  # MiniCPM-V
        ("model.image_newline", "merger"),  # LLaVA-NeXT
        ("model.visual_embeddings_table.weight", "merger"),  # Ovis 2
        ("model.embed_vision.embedding_projection.weight", "merger"),  # Gemma 4
        ("vision_projection.norm.weight", "merger"),  # LightOn OCR
        ("model.language_model.layers.3.mlp.vision_moe.gate.weight", "layer_03.mlp"),  # Ernie 4.5
        ("model.language_model.embed_tokens_per_layer.weight", "embedding_head"),  # Gemma 4
        ("model.language_model.per_layer_model_projection.weight", "embedding_head"),
        ("language_model.model.embeddings.weight", "embedding_head"),  # Nemotron
        ("language_model.model.norm_f.weight", "final_norm"),
        ("model.language_model.embedding_norm.weight", "final_norm"),  # LFM2 applies it last
        ("text_model.model.layer_norm.weight", "final_norm"),  # Kosmos 2
        ("model.audio_tower.layers.0.self_attn.k_proj.weight", "other"),
        ("model.vqmodel.encoder.mid.block_1.norm1.weight", "other"),  # Janus draws with it
        ("model.mystery.weight", "other"),
    ],
)
def test_the_kind_is_read_off_the_name(name, kind):
    assert _kind(name) == kind


def test_groups_are_in_the_order_of_depth_however_many_layers():
    ordered = ["vision_tower", "layer_09.norms", "layer_10.attention", "layer_10.other", "layer_100.mlp", "other"]
    shuffled = [ordered[place] for place in (4, 2, 5, 0, 3, 1)]
    assert sorted(shuffled, key=_depth) == ordered


def test_the_text_alone_reaches_the_language_groups_alone(model):
    groups = parameter_groups(model)
    logits = model(input_ids=torch.tensor([[5, 6, 7]]), use_cache=False).logits
    logits.square().sum().backward()
    reached = {name for name, members in groups.items() if any(p.grad is not None for p in members)}
    model.zero_grad()
    assert reached == set(scopes(groups)["language_model"])


TEMPLATE = (
    "{% for m in messages %}{{ m.role }} {% for p in m.content %}"
    "{{ '<image> ' if p.type == 'image' else p.text + ' ' }}{% endfor %}{% endfor %}assistant"
)


def words():
    """A tokenizer of a few words with the image tokens of Idefics3 (and so of LLaVA)."""
    known = ["<pad>", "</s>", "user", "assistant", "what", "colour", "is", "it"]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(known)}, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="</s>")
    made.add_special_tokens({"additional_special_tokens": ["<image>", "<fake_token_around_image>", "<global-img>"]})
    return made


def llava_member():
    images = CLIPImageProcessorPil(size={"height": 16, "width": 16}, crop_size={"height": 16, "width": 16})
    options = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return llava(), LlavaProcessor(images, words(), chat_template=TEMPLATE, **options)


def idefics3_member():
    edge = {"longest_edge": 16}
    images = Idefics3ImageProcessorPil(size=edge, max_image_size=edge, do_image_splitting=False)
    return idefics3(), Idefics3Processor(images, words(), image_seq_len=1, chat_template=TEMPLATE)


@pytest.mark.parametrize("build", [llava_member, idefics3_member])
def test_other_families_score_mixed_batches_as_single_rows(build):
    model, processor = build()
    model.config.image_token_id = model.model.config.image_token_id = words().convert_tokens_to_ids("<image>")
    loaded = LoadedModel("random", model.eval(), processor, "")
    picture, text = Image.new("RGB", (16, 16), (200, 9, 90)), {"type": "text", "text": "what colour is it"}
    pictured = Prompt("p", ({"role": "user", "content": [{"type": "image"}, text]},), (picture,), "")
    bare = Prompt("q", ({"role": "user", "content": [text]},), (), "")
    views = [image_view(pictured), image_view(bare), text_view(pictured)]
    responses = [[5, 6, 1], [7, 1], [5, 6, 1]]
    with torch.no_grad():
        together = view_logits(loaded, views, responses, 8)
        for view, response, found in zip(views, responses, together, strict=True):
            torch.testing.assert_close(found, view_logits(loaded, [view], [response], 8)[0], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(together[0], together[2], atol=1e-4)
