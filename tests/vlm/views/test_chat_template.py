"""What templates make of messages, and what is said where they do not take them."""

from dataclasses import replace

import pytest
from PIL import Image
from transformers import CLIPImageProcessorPil, LlavaProcessor

from tests.vlm.test_families import TEMPLATE, words
from vlm.pictures.colours import note
from vlm.pictures.picture import Picture
from vlm.prompts.prompt import Prompt
from vlm.views.chat_template import TemplateError, render_messages
from vlm.views.view import ViewError, image_view, render, text_view

ROLE = "{% for m in messages %}[{{ m.role }}] "
END = "{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
PARTS = "{% for p in m.content %}{{ '<image>' if p.type == 'image' else p.text }}{% endfor %} "
LISTS = ROLE + PARTS + END
PLAIN = ROLE + "{{ m.content }} " + END
CONCATENATED = ROLE + "{{ '' + m.content }} " + END
TRIMMED = ROLE + "{{ m['content'] | trim }} " + END
SPELT = ROLE + "{{ m.content | tojson }} " + END
STRICT = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + LISTS
FIRST_PART = ROLE + "{% if m.content[0].type == 'image' %}{% endif %}" + PARTS + END
NOT_EMPTY = ROLE + "{% if not m.content %}{{ raise_exception('content must not be empty') }}{% endif %}" + PARTS + END
DEAF = "{% for m in messages if m.role == 'user' %}[user] " + PARTS + END
FIRST_TEXT = ROLE + "{{ '<image>' if m.content[0].type == 'image' }}{{ m.content[-1].text }} " + END
THINKING = LISTS + "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
FORGETS = "{% for m in messages %}[{{ m.role }}] {% for p in m.content %}"
FORGETS += "{{ '<image>' if p.type == 'image' else p.text.split('</think>')[-1] }}{% endfor %} " + END

PICTURE = Picture(Image.new("RGB", (16, 16)))


def processor(template):
    images = CLIPImageProcessorPil(size={"height": 16, "width": 16}, crop_size={"height": 16, "width": 16})
    options = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return LlavaProcessor(images, words(), chat_template=template, **options)


def said(role, *parts):
    content = [{"type": "image"} if part is None else {"type": "text", "text": part} for part in parts]
    return {"role": role, "content": content}


def rendered(template, *messages, **template_args):
    n = sum(part["type"] == "image" for message in messages for part in message["content"] if isinstance(part, dict))
    return render_messages(messages, n, processor(template), template_args)


def prompt(*messages):
    n = sum(part["type"] == "image" for message in messages for part in message["content"])
    return Prompt("p7", messages, (PICTURE,) * n, "")


@pytest.mark.parametrize("template", [PLAIN, CONCATENATED, TRIMMED, SPELT])
def test_templates_of_plain_text_get_plain_text(template):
    found = rendered(template, said("user", "what ", "colour"), said("assistant", "red"), said("user", "is it"))
    expected = "[user] what colour [assistant] red [user] is it [assistant] "
    assert found.replace('"', "") == expected


def test_a_picture_in_plain_text_is_the_processors_own_token(capsys):
    note.cache_clear()
    assert rendered(PLAIN, said("user", None, "what")) == "[user] <image>\nwhat [assistant] "
    assert capsys.readouterr().err == "note: the chat template takes plain text: a picture is written as <image>\n"


def test_a_message_that_speaks_of_lists_is_left_as_it_is():
    asked = "what is [{'type': 'text'}] and {\"type\": \"text\"}"
    assert rendered(LISTS, said("user", asked)) == f"[user] {asked} [assistant] "


def test_content_as_a_text_is_a_part():
    assert rendered(LISTS, {"role": "user", "content": "what"}) == "[user] what [assistant] "


@pytest.mark.parametrize(
    ("template", "messages", "said_by"),
    [
        (STRICT, [said("system", "be kind"), said("user", "what")], r"\(System role not supported\)"),
        (FIRST_PART, [said("user"), said("user", "what")], "is refused by the chat template"),
        (NOT_EMPTY, [said("user"), said("user", "what")], r"\(content must not be empty\)"),
    ],
)
def test_what_a_template_refuses_is_one_line_with_the_prompt_its_words_and_the_way_out(template, messages, said_by):
    with pytest.raises(ViewError, match=said_by) as caught:
        render(image_view(prompt(*messages)), processor(template))
    line = str(caught.value)
    assert line.startswith("`prompts`: the prompt 'p7' is refused by the chat template (") and "\n" not in line
    assert line.endswith(": change the messages, --system-prompt or --chat-template-args")


@pytest.mark.parametrize(
    ("template", "messages", "number", "role"),
    [
        (DEAF, [said("system", "be kind"), said("user", "what")], 0, "system"),
        (FIRST_TEXT, [said("user", "what colour"), said("user", "is it", "what")], 1, "user"),
    ],
)
def test_a_text_that_a_template_passes_over_is_an_error(template, messages, number, role):
    with pytest.raises(TemplateError, match=f"leaves out or changes, number {number} of role {role}"):
        rendered(template, *messages)


def test_answers_of_earlier_turns_may_lose_their_reasoning():
    turns = said("user", "what"), said("assistant", "<think>hm</think>red"), said("user", "is it")
    assert rendered(FORGETS, *turns) == "[user] what [assistant] red [user] is it [assistant] "


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([{"role": "user", "content": [{"type": "video"}]}], "holds a part of type video: only text and pictures"),
        ([{"role": "user", "content": [{"type": "audio", "audio": "a.wav"}]}], "holds a part of type audio"),
        ([said("user", "what"), said("assistant", "red")], "asks for a response, got of role assistant"),
        ([said("system", "be kind")], "asks for a response, got of role system"),
        ([], "asks for a response, got none"),
    ],
)
def test_what_no_view_can_be_made_of(messages, message):
    with pytest.raises(TemplateError, match=message):
        render_messages(messages, 0, processor(LISTS), {})


def test_pictures_and_their_parts_are_counted():
    with pytest.raises(TemplateError, match="has 2 image parts but 1 pictures"):
        render_messages([said("user", None, None, "what")], 1, processor(LISTS), {})


def test_template_arguments_reach_both_views():
    one = replace(prompt(said("user", None, "what")), template_args={"enable_thinking": False})
    for view in (image_view(one), text_view(one), text_view(one, "blank")):
        assert render(view, processor(THINKING)).endswith("[assistant] <think></think>")
        assert render(replace(view, template_args={}), processor(THINKING)).endswith("[assistant] ")


# Several pictures, several turns


TURNS = (
    said("system", "be kind"),
    said("user", None, "what", None),
    said("assistant", "red"),
    said("user", None),
    said("user", "colour ", None, "is it"),
)


def test_the_text_view_loses_pictures_and_nothing_else():
    view = text_view(prompt(*TURNS))
    assert render(view, processor(LISTS)) == render(image_view(prompt(*TURNS)), processor(LISTS)).replace("<image>", "")
    assert view.images == () and len(image_view(prompt(*TURNS)).images) == 4


@pytest.mark.parametrize("template", [TEMPLATE, FIRST_PART, NOT_EMPTY, FIRST_TEXT, PLAIN])
def test_a_message_of_pictures_alone_stays_as_an_empty_one(template):
    turns = said("user", None), said("user", "what")
    text = render(text_view(prompt(*turns)), processor(template))
    assert text.count("user") == 2 and "<image>" not in text


def test_other_views_keep_the_places_and_the_number_of_pictures():
    one, other = prompt(*TURNS), replace(prompt(said("user", None, "it")), prompt_id="q")
    for view in (text_view(one, "blank"), text_view(one, "other", other)):
        assert view.messages == one.messages and [picture.size for picture in view.images] == [(16, 16)] * 4
