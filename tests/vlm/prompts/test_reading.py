"""How settings of reading change a prompt, and what of them a prompt's fingerprint covers."""

from dataclasses import replace

import pytest
from PIL import Image

from cli.errors import OptionError
from tests.models import scenes
from vlm.pictures.picture import Picture
from vlm.prompts.prompt import Prompt, apply_reading, prompts_fingerprint
from vlm.prompts.reading import Reading, checked_template_args

TEXT = {"type": "text", "text": "what?"}
USER = {"role": "user", "content": [{"type": "image"}, TEXT]}
SYSTEM = {"role": "system", "content": [{"type": "text", "text": "be kind"}]}
PROMPT = Prompt("p", (USER,), (Picture(Image.new("RGB", (40, 10))),), "")


def system(text):
    return {"role": "system", "content": [{"type": "text", "text": text}]}


def test_without_settings_a_prompt_stays_as_it_is():
    assert apply_reading(PROMPT, Reading()) == PROMPT


def test_a_system_prompt_is_added_or_takes_the_place_of_the_first():
    reading = Reading(system_prompt="be brief")
    assert apply_reading(PROMPT, reading).messages == (system("be brief"), USER)
    own = replace(PROMPT, messages=(SYSTEM, USER, SYSTEM))
    assert apply_reading(own, reading).messages == (system("be brief"), USER, SYSTEM)


def test_template_arguments_of_the_settings_go_before_those_of_the_row():
    own = replace(PROMPT, template_args={"a": 1, "b": 2})
    assert apply_reading(own, Reading(chat_template_args='{"b": 3, "c": [4]}')).template_args == {
        "a": 1,
        "b": 3,
        "c": [4],
    }


def test_pictures_are_resized():
    assert apply_reading(PROMPT, Reading(max_pixels=100)).images[0].load().size == (20, 5)
    assert apply_reading(PROMPT, Reading(min_pixels=1600)).images[0].load().size == (80, 20)


@pytest.mark.parametrize("value", ["", "[1]", "null", "{", "true"])
def test_arguments_that_are_no_object_are_refused(value):
    with pytest.raises(OptionError, match="`chat_template_args` must be a JSON object"):
        Reading(chat_template_args=value)


def test_arguments_that_say_how_to_render_are_refused():
    with pytest.raises(OptionError, match="must not set `add_generation_prompt`"):
        Reading(chat_template_args='{"add_generation_prompt": false}')
    with pytest.raises(OptionError, match="row 3 must not set `tokenize`"):
        checked_template_args({"tokenize": True}, "row 3")


def test_bounds_that_cannot_hold_together_are_refused():
    with pytest.raises(OptionError, match="`min_pixels` must be at most `max_pixels`, got 9 and 8"):
        Reading(min_pixels=9, max_pixels=8)


def test_the_fingerprint_covers_what_is_set_and_that_alone():
    settings = [
        Reading(),
        Reading(system_prompt="a"),
        Reading(chat_template_args='{"a": 1}'),
        Reading(max_pixels=9),
        Reading(min_pixels=900),
    ]
    seen = [prompts_fingerprint([apply_reading(PROMPT, reading)]) for reading in settings]
    assert len(set(seen)) == len(seen)
    assert seen[0] == prompts_fingerprint([apply_reading(PROMPT, Reading(skip_bad=True, max_prompt=9))])


def test_the_fingerprint_of_scenes_is_the_one_of_committed_records():
    assert prompts_fingerprint(scenes(20)) == "70dd5f8059cd09de"
