"""Texts and pictures keep their order and their words, whatever they are."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from vlm.prompts.cells import UnplacedPictureError
from vlm.prompts.messages import Turn, place_pictures, turns_of, with_options, without_response
from vlm.prompts.reading import Reading
from vlm.prompts.sources import load_prompts, read_prompts

RED = Image.new("RGB", (40, 40), (255, 0, 0))

WORDS = st.text(st.characters(blacklist_characters="<>[]!|", blacklist_categories=("Cs",)), max_size=12)


def words(text):
    return "".join(text.split())


@given(st.lists(WORDS, min_size=1, max_size=5), st.booleans(), st.randoms())
def test_pictures_stand_between_the_same_words(texts, numbered, random):
    """Said again with a mark for each picture, a question is what it was, blanks aside."""
    n = len(texts) - 1
    assume(n or texts[0].strip())
    order = random.sample(range(1, n + 1), n)
    marks = [f"<image {number}>" if numbered else "<image>" for number in order]
    question = texts[0] + "".join(mark + text for mark, text in zip(marks, texts[1:], strict=True))
    pictures = {number: f"picture {number}" for number in range(1, n + 1)}
    [message], shown = place_pictures(turns_of(question, "here", "problem"), pictures, "here")
    assert shown == [f"picture {number}" for number in (order if numbered else sorted(order))]
    again = iter(marks)
    said = "".join(part["text"] if part["type"] == "text" else next(again) for part in message["content"])
    assert words(said) == words(question)


@given(st.lists(st.text(st.characters(blacklist_categories=("Cs",)), min_size=1), min_size=1, max_size=4))
def test_any_text_survives_a_file_of_json_lines(tmp_path_factory, texts):
    texts = [text.strip() for text in texts if text.strip() and not set(text) & set("<[!")]
    assume(texts)
    path = tmp_path_factory.mktemp("texts") / "a.jsonl"
    rows = [json.dumps({"problem": text, "answer": text}, ensure_ascii=False) for text in texts]
    path.write_bytes("\n".join(rows).encode())
    read = load_prompts(str(path))
    assert [(prompt.text, prompt.answer) for prompt in read] == [(text, text) for text in texts]


def test_options_stand_below_the_last_question():
    turns = turns_of(
        [
            {"role": "user", "content": "one?"},
            {"role": "assistant", "content": "1"},
            {"role": "user", "content": [{"type": "text", "text": "two?"}, {"type": "image"}]},
            {"role": "assistant", "content": "A"},
        ],
        "here",
        "messages",
    )
    asked, response = without_response(turns)
    assert response == "A"
    assert [turn.text for turn in with_options(asked, "A. x")] == ["one?", "1", "two?A. x"]
    assert with_options((Turn("user", ("b?",)),), "A. x") == (Turn("user", ("b?\nA. x",)),)


BAD = (
    {"question": "does <img src='a.png'> show it?", "image": RED},
    {"question": "<image> or <image>?", "image": RED},
    {"question": "<image 3> or <image 1>?", "images": [RED, RED]},
)


@pytest.mark.parametrize("row", BAD)
def test_a_picture_without_a_place_is_refused(row):
    with pytest.raises(UnplacedPictureError, match="row 0.*or add --skip-bad"):
        read_prompts([row])


def test_rows_whose_pictures_have_no_place_are_left_out_and_counted():
    good = ({"question": "what?", "image": RED}, {"question": "what is <b>x</b> if 3<x and x>2?"})
    found = read_prompts([*good, *BAD], reading=Reading(skip_bad=True))
    assert [prompt.prompt_id for prompt in found.prompts] == ["0", "1"]
    assert len(found.bad) == 3 and "3 left out, the first: " in found.lines[1]
