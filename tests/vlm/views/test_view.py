"""The image view and the text view: what is dropped, what stays, what is refused."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from tests.models import scenes
from vlm.prompts.prompt import Prompt
from vlm.views.view import ViewError, encode, encode_prompts, image_view, text_view, text_views

PICTURE = Image.new("RGB", (48, 48), (200, 30, 30))
PROMPT = Prompt(
    "p",
    (
        {"role": "system", "content": [{"type": "text", "text": "see the circle"}]},
        {
            "role": "user",
            "content": [{"type": "image"}, {"type": "text", "text": "what colour is the circle?"}],
        },
    ),
    (PICTURE,),
    "red",
)
END = 2  # <|im_end|>


@pytest.fixture
def student(pair):
    return pair.student


def ids(view, loaded):
    return encode_prompts([view], loaded.processor)["input_ids"][0].tolist()


def test_dropping_leaves_the_same_prompt_without_vision_tokens(student):
    image, text = (ids(view, student) for view in (image_view(PROMPT), text_view(PROMPT)))
    assert set(image) & set(student.visual_ids)
    assert text == [token for token in image if token not in student.visual_ids]


def test_dropping_keeps_the_prompt_as_it_was():
    text_view(PROMPT)
    assert image_view(PROMPT).messages[1]["content"][0] == {"type": "image"}


def test_blank_is_grey_of_the_same_size(student):
    view = text_view(PROMPT, "blank")
    assert [image.size for image in view.images] == [PICTURE.size]
    assert len(view.images[0].load().getcolors()) == 1
    assert ids(view, student) == ids(image_view(PROMPT), student)


def test_other_shows_the_next_picture_at_the_size_of_the_own_one():
    donor = replace(PROMPT, prompt_id="q", images=(Image.new("RGB", (20, 10), (0, 0, 255)),))
    without = replace(PROMPT, prompt_id="r", messages=PROMPT.messages[:1], images=())
    first, none, last = text_views([PROMPT, without, donor], "other")
    assert first.images[0].size == PICTURE.size and first.images[0].load().getpixel((0, 0)) == (0, 0, 255)
    assert last.images[0].size == (20, 10) and last.images[0].load().getpixel((0, 0)) == (200, 30, 30)
    assert none == image_view(without)


def test_other_needs_a_second_picture():
    with pytest.raises(ViewError, match="`text_view` other needs a second prompt with a picture"):
        text_views([PROMPT], "other")


def test_an_unknown_mode_is_refused():
    with pytest.raises(ViewError, match="`text_view` must be one of drop, blank, other, got 'noise'"):
        text_view(PROMPT, "noise")


@pytest.mark.parametrize("mode", ["drop", "blank", "other"])
def test_a_prompt_without_a_picture_has_one_view(mode):
    prompt = scenes(6)[5]
    assert not prompt.has_image
    assert text_view(prompt, mode) == image_view(prompt)


def test_both_views_end_in_the_same_response_ids(student):
    responses = [[40, 41, 42, END], [50, END]]
    views = [image_view(PROMPT), text_view(PROMPT)]
    encoded = encode(views, responses, student.processor, student.visual_ids)
    for row, (view, response) in enumerate(zip(views, responses, strict=True)):
        start = encoded.first[row] + 1
        assert encoded.inputs["input_ids"][row, :start].tolist() == ids(view, student)
        assert encoded.inputs["input_ids"][row, start : start + encoded.lengths[row]].tolist() == response
        mask = encoded.inputs["attention_mask"][row]
        assert mask[: start + len(response)].all() and not mask[start + len(response) :].any()
        assert not encoded.inputs["mm_token_type_ids"][row, start:].any()


def test_a_view_without_pictures_may_hold_no_image_token(student):
    kept = replace(text_view(PROMPT), messages=image_view(PROMPT).messages)
    with pytest.raises(ViewError, match="the prompt 'p' has 1 image parts but 0 pictures"):
        encode([kept], [[END]], student.processor, student.visual_ids)


def test_what_frames_a_picture_may_not_be_left_either(student):
    spelled = {"role": "user", "content": [{"type": "text", "text": "<|vision_start|> what?"}]}
    with pytest.raises(ViewError, match=r"still holds the image token ids \[3\]"):
        encode([replace(text_view(PROMPT), messages=(spelled,))], [[END]], student.processor, student.visual_ids)


@pytest.mark.parametrize("visual", [3, 4, 5, 6])
def test_a_response_with_a_vision_token_is_refused(student, visual):
    with pytest.raises(ViewError, match=rf"response 1 holds the vision token ids \[{visual}\]"):
        encode([image_view(PROMPT)] * 2, [[END], [40, visual, END]], student.processor, student.visual_ids)


def test_an_empty_response_is_refused(student):
    with pytest.raises(ViewError, match="response 0 is empty"):
        encode([image_view(PROMPT)], [[]], student.processor, student.visual_ids)


def test_pictures_in_a_mixed_batch_stay_with_their_rows(student):
    prompts = scenes(6)
    together = encode_prompts([image_view(prompt) for prompt in prompts], student.processor)
    apart = [encode_prompts([image_view(prompt)], student.processor) for prompt in prompts]
    pixels = torch.cat([one["pixel_values"] for one in apart if "pixel_values" in one])
    torch.testing.assert_close(together["pixel_values"], pixels, rtol=0, atol=0)
    for row, one in enumerate(apart):
        mask = together["attention_mask"][row].bool()
        assert together["input_ids"][row][mask].tolist() == one["input_ids"][0].tolist()


def test_a_first_token_that_the_template_writes_is_not_written_twice(student):
    class Greeting:
        """A processor whose template and tokenizer would both write the first token."""

        tokenizer = type("Tokenizer", (), {"bos_token": "<s>"})()

        def apply_chat_template(self, messages, **_):
            return "<s>" + " ".join(part["text"] for message in messages for part in message["content"])

        def __call__(self, **inputs):
            return inputs

    assert encode_prompts([text_view(PROMPT)], Greeting())["add_special_tokens"] is False
    Greeting.tokenizer.bos_token = None
    assert "add_special_tokens" not in encode_prompts([text_view(PROMPT)], Greeting())
