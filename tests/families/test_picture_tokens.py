"""Picture tokens are read off each family's checkpoint: all of its marks, and never a word of ordinary text."""

import pytest
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.families.build import can_build
from tests.families.registry import FAMILIES
from tests.families.tokenizers import STUDENT
from vlm.checkpoints.picture_tokens import PictureTokens
from vlm.views.view import View, ViewError, encode_prompts

HERE = [name for name, family in FAMILIES.items() if can_build(name) and not family.refused]
QWEN = {"<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"}
GLM = {f"<|{mark}{kind}|>" for kind in ("image", "video") for mark in ("", "begin_of_", "end_of_")}
IDEFICS = {"<fake_token_around_image>", "<image>", "<global-img>"}
MARKS = {
    "qwen2_vl": QWEN,
    "qwen3_5": QWEN,
    "llava": {"<image>"},
    "llava_onevision": {"<image>", "<video>"},
    "idefics3": IDEFICS | {f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)},
    "idefics2": IDEFICS - {"<global-img>"},
    "internvl": {"<img>", "</img>", "<IMG_CONTEXT>", "<video>"},
    "aya_vision": {"<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>"}
    | {"TILE_GLOBAL", *(f"TILE_{number}" for number in range(1, 13))},
    "ovis2": {"<image>", *(f"<IMG_{part}>" for part in ("ATOM", "START", "GRID", "COL", "ROW", "END"))},
    "gemma3": {"<start_of_image>", "<end_of_image>", "<image_soft_token>"},
    "glm4v": GLM,
    "mllama": {"<|image|>"},
    "janus": {"<image_placeholder>", "<begin_of_image>", "<end_of_image>"},
    "deepseek_vl": {"<image_placeholder>"},
}
WORDS = st.text(st.characters(max_codepoint=0x2FF, exclude_characters="<>[]{}|"), max_size=60)
LINES = st.sampled_from(["image", "video", "a patch and a tile", "\n\n", "TILE", "row 1 col 2", "1/2", "   "])


@pytest.fixture(scope="module")
def made():
    """Model and processor by family, built when they are asked for."""
    built = {}

    def get(name):
        if name not in built:
            model, processor = FAMILIES[name].build(STUDENT)
            built[name] = PictureTokens(model.config, processor)
        return built[name]

    return get


@pytest.mark.parametrize("name", MARKS)
def test_the_marks_are_those_of_the_family(made, name):
    tokens = made(name)
    assert set(tokens.processor.tokenizer.convert_ids_to_tokens(tokens.ids)) == MARKS[name]


@pytest.mark.parametrize("name", HERE)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(WORDS | LINES, min_size=1, max_size=4).map(" ".join).filter(str.strip))
def test_ordinary_text_is_never_banned(made, name, said):
    tokens = made(name)
    view = View(({"role": "user", "content": [{"type": "text", "text": said}]},), ())
    assert not set(encode_prompts([view], tokens.processor)["input_ids"].flatten().tolist()) & set(tokens.ids)
    assert not set(tokens.processor.tokenizer(said)["input_ids"]) & set(tokens.ids)


def test_an_end_is_no_picture_whatever_a_config_declares(made):
    tokens = made("qwen3_vl")
    roles = tokens.processor.tokenizer
    config = transformers.Qwen3VLConfig(
        image_token_id=roles.eos_token_id, video_token_id=roles.pad_token_id, vision_config={"image_ids": [5, 6]}
    )
    found = PictureTokens(config, tokens.processor).ids
    assert roles.eos_token_id not in found and roles.pad_token_id not in found and not {5, 6} & set(found)
    assert set(roles.convert_ids_to_tokens(found)) == QWEN


def test_a_template_that_shows_no_picture_is_refused():
    model, processor = FAMILIES["qwen3_vl"].build(STUDENT)
    processor.chat_template = processor.chat_template.replace("<|vision_start|><|image_pad|><|vision_end|>", "")
    with pytest.raises(ViewError):
        PictureTokens(model.config, processor).check()


def test_only_where_text_attends_across_are_prompts_kept_apart(made):
    assert not made("mllama").mixes_views
    assert made("qwen3_vl").mixes_views and made("idefics3").mixes_views


@pytest.mark.parametrize("name", ["gemma3", "idefics3"])
def test_what_a_picture_adds_and_is_no_mark_stays_ordinary(made, name):
    """Line breaks round a picture, colons and spaces are words, though a text view may lack them."""
    tokens, tokenizer = made(name), made(name).processor.tokenizer
    content = [{"type": "image"}, {"type": "text", "text": "What?"}]
    view = View(({"role": "user", "content": content},), (Image.new("RGB", (40, 40)),))
    seen = set(encode_prompts([view], tokens.processor)["input_ids"].flatten().tolist())
    words = {index for index in seen if index not in tokenizer.added_tokens_decoder}
    words |= {index for index in seen if tokenizer.convert_ids_to_tokens(index).isspace()}
    assert words and not words & set(tokens.ids)
