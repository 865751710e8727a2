"""Every usual schema is read as what it is, `--columns` decides the rest, and no picture stays unread."""

import base64
import io
import json

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Pillow

from cli.errors import OptionError
from vlm.answers.judge import is_correct_any
from vlm.prompts.reading import Reading
from vlm.prompts.schemas import parse_columns
from vlm.prompts.sources import PromptError, load_prompts, prompt_set, read_prompts

SIDES = (8, 6, 4)


def png(width=8):
    buffer = io.BytesIO()
    Pillow.new("RGB", (width, 5), (255, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


URI = "data:image/png;base64," + base64.b64encode(png()).decode()
BYTES = {"bytes": png(), "path": None}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for number, width in enumerate(SIDES, start=1):
        (tmp_path / f"{number}.png").write_bytes(png(width))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one(row, **reading):
    [prompt] = read_prompts([row], reading=Reading(**reading)).prompts
    return prompt


def said(prompt):
    """Roles and what they say, a picture as its width."""
    widths = iter(picture.size[0] for picture in prompt.images)
    return [
        (message["role"], [part["text"] if part["type"] == "text" else next(widths) for part in message["content"]])
        for message in prompt.messages
    ]


SHAPES = [
    {"problem": "what?", "answer": "red", "images": ["1.png"]},
    {"problem": "<image>what?", "answer": "red", "images": ["1.png"]},
    {"problem": "<image>\nwhat?", "answer": "red", "images": "1.png"},
    {"question": "what?", "answer": "red", "image": "1.png"},
    {"question": "what?", "answer": "red", "image": BYTES},
    {"question": "what?", "answer": "red", "image": Pillow.open(io.BytesIO(png()))},
    {"question": "what?", "answer": "red", "image": URI},
    {"question": "what?", "answer": "red", "image_path": "1.png"},
    {"question": "what?", "answer": "red", "image_paths": ["1.png"]},
    {"question": "what?", "answer": "red", "image_1": BYTES, "image_2": None, "image_7": None},
    {"question": "<image 1> what?", "answer": "red", "image_1": "1.png"},
    {"question": "what?", "answer": "red", "decoded_image": BYTES},
    {"question": "what?", "answer": "red", "decoded_image": BYTES, "image": "images/1.jpg"},
    {"question": "what?", "answers": ["red"], "images": np.array(["1.png"])},
    {"prompt": "what?", "images": ["1.png"], "answer": "red"},
    {"messages": str([{"role": "user", "content": "<image>what?"}]), "images": ["1.png"], "answer": "red"},
    {"prompt": json.dumps([{"role": "user", "content": "<image>what?"}]), "images": ["1.png"], "answer": "red"},
    {"prompt": [{"role": "user", "content": "what?"}], "images": ["1.png"], "answer": "red"},
    {"prompt": [{"role": "user", "content": "<image>what?"}], "images": [BYTES], "answer": "red"},
    {
        "data_source": "unknown",
        "prompt": [{"role": "user", "content": "<image>what?"}],
        "images": [BYTES],
        "reward_model": {"ground_truth": "red", "style": "rule"},
        "extra_info": {"index": 3, "split": "train", "answer": "\\boxed{red}"},
        "ability": "vqa",
    },
    {"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}]}]}
    | {"images": ["1.png"], "answer": "red"},
    {
        "messages": [
            {"role": "user", "content": [{"type": "image", "image": "1.png"}, {"type": "text", "text": "what?"}]}
        ]
    }
    | {"answer": "red"},
    {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": URI}}, {"type": "text", "text": "what?"}],
            }
        ],
        "answer": "red",
    },
    {
        "messages": [
            {
                "role": "user",
                "content": [
                    None,
                    {"type": "image", "image": BYTES, "text": None},
                    {"type": "text", "text": None, "image": None},
                    {"type": "text", "text": "what?", "image": {"bytes": None, "path": None}},
                ],
            },
            {"role": "assistant", "content": "It is \\boxed{red}."},
        ]
    },
    {
        "image": "1.png",
        "conversations": [
            {"from": "human", "value": "<image>\nwhat?"},
            {"from": "gpt", "value": "I see \\boxed{red}."},
        ],
    },
]


@pytest.mark.parametrize("row", SHAPES, ids=lambda row: ", ".join(row))
def test_usual_schemas(folder, row):
    prompt = one(row)
    assert said(prompt) == [("user", [8, "what?"])]
    assert prompt.answers == ("red",)


def test_a_picture_behind_the_question(folder):
    row = {"image": "1.png", "conversations": [{"from": "user", "value": "what?\n<image>"}]}
    assert said(one(row)) == [("user", ["what?", 8])]


def test_a_task_is_the_source_of_verl(folder):
    row = {
        "prompt": [{"role": "user", "content": "1 + 1?"}],
        "data_source": "geo3k",
        "reward_model": {"ground_truth": 2},
    }
    prompt = one(row)
    assert (prompt.task, prompt.answer, prompt.dependency) == ("geo3k", "2", "text")


def test_pictures_stand_where_their_numbers_are(folder):
    row = {"question": "is <image 2> like <image_1>, or <image 2>?", "image_1": "1.png", "image_2": "2.png"}
    assert said(one(row)) == [("user", ["is ", 6, " like ", 8, ", or ", 6, "?"])]


def test_the_text_view_keeps_the_blanks_round_a_picture(folder):
    [message] = one({"problem": "is <image> red?", "images": "1.png"}).messages
    assert "".join(part.get("text", "") for part in message["content"]) == "is  red?"


def test_a_last_turn_of_the_assistant_is_no_part_of_the_prompt(folder):
    turns = [("human", "one?"), ("gpt", "1"), ("human", "two?"), ("gpt", "two")]
    row = {"conversations": [{"from": who, "value": what} for who, what in turns]}
    prompt = one(row)
    assert said(prompt) == [("user", ["one?"]), ("assistant", ["1"]), ("user", ["two?"])]
    assert prompt.answers == ()
    assert one(row, columns="answer=conversations").answers == ("two",)


def test_columns_say_what_is_what(folder):
    row = {
        "q": "what?",
        "a": "1.png",
        "b": "2.png",
        "c": 3,
        "solution": 1.0,
        "kind": "t",
        "thumb": "3.png",
        "need": "low",
    }
    columns = "problem=q,images=a+b,answer=solution,id=c,task=kind,ignore=thumb,dependency=need"
    read = read_prompts([row], reading=Reading(columns=columns))
    [prompt] = read.prompts
    assert said(prompt) == [("user", [8, 6, "what?"])]
    assert (prompt.prompt_id, prompt.answer, prompt.task, prompt.dependency) == ("3", "1.0", "t", "low")
    assert read.lines == (
        "prompts: `prompts`: problem from q, images from a, b, answer from solution, id from c, task from kind,"
        " dependency from need; not read: thumb",
        "prompts: 1, 1 with pictures, 1 with an answer",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("problem", "`columns` must be like problem=question,images=image, got 'problem'"),
        ("problem=", "must be like"),
        ("", "must be like"),
        ("problem=a,,images=b", "must be like"),
        ("images=a+", "must be like"),
        ("question=a", "`columns` must name roles among problem, images, .*, got 'question'"),
        ("problem=a,problem=b", "must name one column for problem"),
        ("answer=a+b", "must name one column for answer"),
    ],
)
def test_columns_are_read_strictly(text, message):
    with pytest.raises(OptionError, match=message):
        parse_columns(text)


def test_a_named_column_must_be_there(folder):
    with pytest.raises(PromptError, match="`columns` names 'gold' for answer, which no row of `prompts` has; it has"):
        one({"problem": "a"}, columns="answer=gold")


UNREAD = [
    ("figure", "plots/a.png"),
    ("figure", "a picture of mine.JPG"),
    ("figure", URI),
    ("figure", base64.b64encode(png()).decode()),
    ("figure", BYTES),
    ("figure", png()),
    ("figure", Pillow.new("RGB", (2, 2))),
    ("figure", ["x.webp"]),
    ("figure", "https://a.b/c.jpeg?size=3"),
    ("extra", {"about": {"shot": "x.tiff"}}),
    ("img", "0001"),
    ("picture", "0001"),
    ("original_image", "0001"),
    ("image_url", "0001"),
    ("image_file", "0001"),
    ("image_id", 17),
]


@pytest.mark.parametrize(("column", "value"), UNREAD, ids=[f"{name} {str(value)[:12]}" for name, value in UNREAD])
def test_a_column_with_a_picture_that_is_not_read_is_an_error(folder, column, value):
    message = (
        f"column `{column}` holds or names a picture and is not read; .* --columns images={column}, .*=ignore={column}"
    )
    with pytest.raises(PromptError, match=message.replace(".*=ignore", ".*ignore")):
        one({"problem": "a", column: value})
    assert not one({"problem": "a", column: value}, columns=f"ignore={column}").has_image


@pytest.mark.parametrize("column", ["video", "videos", "video_path"])
def test_a_video_is_refused(column):
    with pytest.raises(PromptError, match=f"column `{column}` holds or names a video, and only pictures are read"):
        one({"problem": "a", column: ["a.mp4"]})
    assert one({"problem": "a", column: []}).text == "a"


def test_what_is_said_about_pictures_is_no_picture(folder):
    about = {"img_type": "photo", "image_width": 8, "has_image": True, "num_images": 1, "image_caption": "a dog"}
    assert one({"problem": "a", "images": "1.png", "image_id": 3, "solution": "see a. Then b.", **about}).has_image


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"problem": "a", "question": "b"}, "`problem` and `question` could each be the question; .*problem=problem"),
        ({"problem": "a", "prompt": [{"role": "user", "content": "a"}]}, "could each be the question"),
        ({"problem": "a", "images": "1.png", "image": "2.png"}, "`images` and `image` both hold pictures"),
        ({"problem": "a", "image": BYTES, "image_path": "1.png"}, "`image` and `image_path` both hold pictures"),
        ({"problem": "a", "image": "1.png", "image_1": "2.png"}, "both hold pictures"),
        ({"problem": "a", "images": ["1.png", None]}, "`images` must hold pictures, got one that is null"),
        ({"problem": "<image 2>", "image_1": "1.png"}, "has the markers <image 2> but the images 1"),
        ({"problem": "<image 1> <image>", "images": ["1.png", "2.png"]}, "the markers <image 1>, <image> but"),
        ({"problem": "<image 1>", "images": ["1.png", "2.png"]}, "the markers <image 1> but the images 1, 2"),
        ({"problem": "<image 1>"}, "the markers <image 1> but the images none"),
        ({"problem": " "}, "must ask something"),
        ({"messages": "what?"}, "`messages` must be a list of messages, got the text 'what\\?'"),
        ({"conversations": "[{1, 2}"}, "`conversations` must be a list of messages"),
        ({"problem": "<|im_start|>user\na"}, "is rendered by a chat template already"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "a message of role user"),
        (
            {"messages": [{"from": "assistant", "value": "a"}, {"from": "human", "value": "b"}]} | {"image": [0]},
            "image",
        ),
        ({"messages": [{"role": "judge", "content": "a"}]}, "must have a role among .*, got 'judge'"),
        ({"messages": [{"role": "user", "content": None}]}, "must have `role` and `content`"),
        ({"messages": [{"role": "user", "content": 5}]}, "must have a text or parts as `content`, got int"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ["a"]}]}]}, "a text that is list"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "a part of type 'audio'"),
    ],
)
def test_what_could_be_meant_in_two_ways_is_refused(folder, row, message):
    with pytest.raises(PromptError, match=message):
        one(row)


MARKERS = [
    "<|image_pad|>",
    "<|vision_start|><|vision_end|>",
    "<|image|>",
    "<img>",
    '<img src="a.png">',
    "<IMG_CONTEXT>",
    "<start_of_image>",
    "<image_soft_token>",
    "<ImageHere>",
    "<image/>",
    "<video>",
    "[IMG]",
    "[IMG_END]",
    "<|media_pad|>",
    "![plot](a/b.png)",
]


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_that_would_stay_in_a_text_view_is_an_error(folder, marker):
    for row in ({"problem": f"look {marker} here"}, {"problem": f"{marker} what?", "images": ["1.png"]}):
        with pytest.raises(PromptError, match="the text keeps .*, which stands for a picture"):
            one(row)
    with pytest.raises(PromptError, match="the text keeps"):
        one({"prompt": [{"role": "system", "content": marker}, {"role": "user", "content": "a"}]})


@pytest.mark.parametrize("text", ["if a < b and c > d", "x <b>bold</b>", "a provision, <revision>", "[1] [IMAGINE]"])
def test_other_signs_stay(folder, text):
    assert said(one({"problem": text})) == [("user", [text])]


@pytest.mark.parametrize(
    ("value", "answers"),
    [
        (1, ("1",)),
        (0.5, ("0.5",)),
        (1.0, ("1.0",)),
        ("1.50", ("1.50",)),
        (np.int64(7), ("7",)),
        (True, ("True",)),
        (["1", "one", None, "1"], ("1", "one")),
        ([], ()),
        (None, ()),
        ("", ()),
        (np.array(["a", "b"]), ("a", "b")),
    ],
)
def test_answers_of_every_type(value, answers):
    prompt = one({"problem": "a", "answer": value})
    assert prompt.answers == answers
    assert prompt.answer == (answers[0] if answers else "")


def test_numbers_of_a_file_are_as_they_are_written(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        "".join(f'{{"problem": "?", "answer": {n}}}\n' for n in ("1.50", "1e3", "-0.0", "12"))
    )
    assert [p.answer for p in load_prompts(str(tmp_path / "a.jsonl"))] == ["1.50", "1e3", "-0.0", "12"]


@pytest.mark.parametrize(
    ("column", "value", "got"),
    [
        ("answer", float("nan"), "nan"),
        ("answer", float("inf"), "inf"),
        ("answer", {"a": 1}, "dict"),
        ("answer", [["a"]], "list"),
        ("answer", b"a", "bytes"),
        ("id", ["a"], "list"),
        ("task", {"a": 1}, "dict"),
        ("dependency", float("nan"), "nan"),
    ],
)
def test_what_is_no_text_is_refused(column, value, got):
    with pytest.raises(PromptError, match=f"`{column}` must be text or a number, got {got}"):
        one({"problem": "a", column: value})


@pytest.mark.parametrize("problem", [5, {"a": 1}, float("nan"), ["a"], b"a"])
def test_a_question_that_is_no_text_is_refused(problem):
    with pytest.raises(PromptError):
        one({"problem": problem})


def test_signs_that_end_lines_elsewhere_are_part_of_a_text(tmp_path):
    texts = [f"a{sign}b" for sign in "\u2028\u2029\u0085\u000b\u000c"]
    path = tmp_path / "a.jsonl"
    rows = [json.dumps({"problem": text}, ensure_ascii=False) for text in texts]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    assert [prompt.text for prompt in load_prompts(str(path))] == texts


def test_a_list_of_objects_in_one_file(folder):
    (folder / "a.json").write_text(json.dumps([{"problem": "a", "images": "2.png"}]))
    assert said(load_prompts("a.json")[0]) == [("user", [6, "a"])]
    (folder / "a.json").write_text('{"problem": "a"}')
    with pytest.raises(PromptError, match="must be a JSON list of objects, got dict"):
        load_prompts("a.json")


def test_ids_are_numbers_or_texts_and_differ():
    prompts = read_prompts(
        [{"id": 7, "problem": "a"}, {"id": 7.5, "problem": "b"}, {"id": None, "problem": "c"}]
    ).prompts
    assert [prompt.prompt_id for prompt in prompts] == ["7", "7.5", "2"]
    with pytest.raises(PromptError, match="uses the id '7' twice"):
        read_prompts([{"id": 7, "problem": "a"}, {"id": "7", "problem": "b"}])


CHOICE = "which?\nA. red\nB. blue"


@pytest.mark.parametrize(
    ("options", "answer", "answers"),
    [
        (["red", "blue"], "B", ("B", "blue")),
        (["red", "blue"], "(b)", ("B", "blue")),
        (["red", "blue"], "B)", ("B", "blue")),
        (["red", "blue"], "B. blue", ("B", "blue")),
        (["red", "blue"], "A, B", ("A, B", "AB")),
        (["red", "blue"], "blue", ("B", "blue")),
        (["red", "blue"], 1, ("B", "blue")),
        ({"A": "red", "B": "blue", "C": None}, "B", ("B", "blue")),
        ({"label": ["A", "B"], "text": ["red", "blue"]}, "B", ("B", "blue")),
        ("['red', 'blue']", "B", ("B", "blue")),
        (["A. red", "B. blue"], "B", ("B", "blue")),
        (np.array(["(A) red", "(B) blue"]), "A", ("A", "red")),
    ],
)
def test_options_stand_below_the_question(options, answer, answers):
    prompt = one({"question": "which?", "options": options, "answer": answer})
    assert said(prompt) == [("user", [CHOICE])]
    assert prompt.answers == answers


def test_options_are_not_said_twice():
    assert said(one({"question": CHOICE, "choices": ["red", "blue"], "answer": "A"})) == [("user", [CHOICE])]
    assert said(one({"question": "which? (A) red (B) blue", "choices": ["red", "blue"]})) == [
        ("user", ["which? (A) red (B) blue"])
    ]
    assert said(one({"question": "which?", "options": "[]", "answer": "4"})) == [("user", ["which?"])]


def test_the_words_of_an_option_that_are_another_letter_are_not_accepted():
    assert one({"question": "which?", "options": ["C", "x", "y"], "answer": "A"}).answers == ("A",)
    assert one({"question": "which?", "options": ["same", "same"], "answer": "A"}).answers == ("A",)
    letters = one({"question": "which?", "options": ["A", "B"], "answer": "B"})
    assert (letters.answers, said(letters)) == (("B",), [("user", ["which?"])])


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (["red", "blue"], "green"),
        (["0", "1"][::-1], 1),
        (["a", "a"], "a"),
        (["red", "blue"], "C"),
        (["red", "blue"], "A. blue"),
    ],
)
def test_an_answer_that_is_no_option_or_two_is_refused(options, answer):
    with pytest.raises(PromptError, match=r"`answer` must be a letter, .*ignore=options leaves them out"):
        one({"question": "which?", "options": options, "answer": answer})


def test_options_with_pictures(folder):
    row = {"question": "which?", "options": ["<image 1>", "<image 2>"], "image_1": "1.png", "image_2": "2.png"}
    assert said(one(row)) == [("user", ["which?\nA. ", 8, "\nB.", 6])]
    with pytest.raises(PromptError, match="`options` must be text or a number, got dict"):
        one({"question": "which?", "options": [BYTES, BYTES]})


def test_a_datasets_folder_is_read_as_its_bytes_are(folder):
    rows = {"question": ["a", "b"], "image": [BYTES, None], "images_": [[BYTES], []]}
    features = Features({"question": Value("string"), "image": Image(), "images_": List(Image())})
    Dataset.from_dict(rows, features=features).save_to_disk(folder / "set")
    first, second = load_prompts("set", reading=Reading(columns="ignore=images_"))
    assert said(first) == [("user", [8, "a"])] and not second.has_image
    assert first.images[0].source == BYTES["bytes"]
    with pytest.raises(PromptError, match="column `images_` holds or names a picture"):
        load_prompts("set")


def test_a_picture_that_cannot_be_read_is_left_out_where_asked(folder):
    rows = [{"problem": "a", "images": "none.png"}, {"problem": "b", "images": "1.png", "answer": 1}]
    pd.DataFrame(rows).to_json("a.jsonl", orient="records", lines=True)
    with pytest.raises(PromptError, match="row 0 has an unreadable image"):
        load_prompts("a.jsonl")
    read = prompt_set("a.jsonl", reading=Reading(skip_bad=True))
    assert [prompt.prompt_id for prompt in read.prompts] == ["1"]
    assert read.lines[1].startswith(
        "prompts: 1, 1 with pictures, 1 with an answer; 1 left out, the first: `prompts`: a.jsonl"
    )
    with pytest.raises(PromptError, match="no prompt of .* is left without the 1 that `skip_bad` leaves out"):
        read_prompts(rows[:1], reading=Reading(skip_bad=True))


def test_rows_are_rows():
    with pytest.raises(PromptError, match="must be a row with named columns, got str"):
        read_prompts(pd.DataFrame({"problem": ["a"]}))


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("Half of 48 is <<48/2=24>>24.\n#### 72", "72"),
        ("#### 1,234", "1,234"),
        ("<think>so</think>\n<answer> 3 cm </answer>", "3 cm"),
        ("<answer>\nred\n</answer>\n", "red"),
        (r"We get $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        ("x" * 3000 + r" so \boxed{7}.", "7"),
        ("#### Title\nand text", "#### Title\nand text"),
        ("a #### b", "a #### b"),
        ("write <answer>x</answer> here", "write <answer>x</answer> here"),
    ],
)
def test_a_worked_solution_gives_the_answer_that_it_states(written, answer):
    (prompt,) = read_prompts([{"question": "how many?", "answer": written}]).prompts
    assert prompt.answer == answer


def test_columns_that_are_letters_are_the_options_of_a_choice():
    rows = [{"question": "which?", "A": "cat", "B": "dog", "C": "cow", "D": None, "answer": "dog"}]
    found = read_prompts(rows)
    (prompt,) = found.prompts
    assert prompt.messages[0]["content"][0]["text"] == "which?\nA. cat\nB. dog\nC. cow"
    assert (prompt.answer, prompt.other_answers) == ("B", ("dog",))
    assert "options from A, B, C" in found.columns
    (prompt,) = read_prompts(rows, reading=Reading(columns="ignore=A+B+C")).prompts
    assert (prompt.messages[0]["content"][0]["text"], prompt.answer) == ("which?", "dog")
    (prompt,) = read_prompts([{"question": "A?", "A": "cat", "answer": "yes"}]).prompts
    assert prompt.answer == "yes"


def test_nulls_behind_the_options_are_none():
    rows = [{"question": "which?", "choices": ["cat", "dog", None, None], "answerKey": "B"}]
    (prompt,) = read_prompts(rows).prompts
    assert prompt.messages[0]["content"][0]["text"] == "which?\nA. cat\nB. dog"
    assert (prompt.answer, prompt.other_answers) == ("B", ("dog",))


@pytest.mark.parametrize("written", ["AC", "A,C", "A, C", "A C"])
def test_several_letters_are_right_with_commas_and_without(written):
    rows = [{"question": "which?", "options": ["one", "two", "three"], "answer": written}]
    (prompt,) = read_prompts(rows).prompts
    accepted = (prompt.answer, *prompt.other_answers)
    for given, is_right in (("AC", True), ("A, C", True), ("C, A", True), ("A,B", False), ("A", False)):
        assert is_correct_any(rf"\boxed{{{given}}}", accepted) is is_right


@pytest.mark.parametrize(
    "row",
    [
        {"question": "what \ud83d colour?"},
        {"question": "what?", "answer": "\udc00"},
        {"question": "what?", "id": "\udc00"},
        {"question": "what?", "options": ["\udc00", "b"]},
        {"messages": [{"role": "system", "content": "\udc00"}, {"role": "user", "content": "what?"}]},
    ],
)
def test_half_of_a_character_is_refused(row):
    with pytest.raises(PromptError, match="row 0.* half of a character: mend the text's encoding"):
        read_prompts([row])
    assert read_prompts([{"question": "what \U0001f600?"}]).prompts


@pytest.mark.parametrize(
    ("options", "answer", "accepted"),
    [
        ({"1": "red", "2": "blue"}, 1, ("1", "red")),
        ({"1": "red", "2": "blue"}, 2, ("2", "blue")),
        ({"0": "red", "1": "blue"}, 1, ("1", "blue")),
        ({"a": "red", "b": "blue"}, "b", ("b", "blue")),
        ({"a": "red", "b": "blue"}, 1, ("b", "blue")),
        ('{"A": "red", "B": "blue"}', "B", ("B", "blue")),
        ("{'A': 'red', 'B': 'blue'}", "blue", ("B", "blue")),
        (["red", "blue"], 1, ("B", "blue")),
    ],
)
def test_an_answer_is_the_options_own_name_before_it_is_a_place(options, answer, accepted):
    (prompt,) = read_prompts([{"question": "which?", "options": options, "answer": answer}]).prompts
    assert prompt.answers == accepted


def test_a_place_that_is_also_the_words_of_another_option_is_refused():
    with pytest.raises(PromptError, match="must be a letter, the place or the words"):
        read_prompts([{"question": "which?", "options": {"1": "2", "2": "3"}, "answer": 2}])
