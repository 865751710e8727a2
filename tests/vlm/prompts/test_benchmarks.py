"""The paper's benchmarks on small files of their schemas: where they are asked for, and what becomes of a row."""

import io

import datasets
import pytest
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Pillow

from vlm.prompts.benchmarks import BENCHMARKS
from vlm.prompts.reading import Reading
from vlm.prompts.sources import PromptError, load_prompts, prompt_set


def picture(width):
    buffer = io.BytesIO()
    Pillow.new("RGB", (width, 5), (0, 0, 255)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


TEXT, NUMBER, SEVERAL = Value("string"), Value("int64"), List(Value("string"))
PAPERS = {"images": List(Image()), "problem": TEXT, "answer": TEXT, "problem_id": TEXT}
PAPERS_ROW = {"images": [picture(7)], "problem": "<image>how many?", "answer": "4", "problem_id": "x"}

SCHEMAS = {  # features and a row each
    "mmmu-pro": (
        {"id": TEXT, "question": TEXT, "options": TEXT, "explanation": TEXT}
        | {f"image_{n}": Image() for n in range(1, 8)}
        | {"img_type": TEXT, "answer": TEXT, "topic_difficulty": TEXT, "subject": TEXT},
        {"id": "test_1", "question": "<image 1> which is <image 2>?", "options": "['red', \"it's blue\"]"}
        | {
            "image_1": picture(7),
            "image_2": picture(9),
            "img_type": "['Photographs']",
            "answer": "B",
            "subject": "Art",
        },
    ),
    "logicvista": (
        {"id": TEXT, "question": TEXT, "answer": TEXT, "image": Image()},
        {"id": "1", "question": "Which? (A) one (B) two", "answer": "A", "image": picture(7)},
    ),
    "geo3k": (
        {
            "images": List(Image()),
            "problem": TEXT,
            "answer": TEXT,
            "id": NUMBER,
            "choices": SEVERAL,
            "ground_truth": TEXT,
        },
        {"images": [picture(7)], "problem": "<image>Find x.", "answer": "3", "id": 0}
        | {"choices": ["3.0", "5.0"], "ground_truth": "A"},
    ),
    "we-math": (
        {"ID": TEXT, "split": TEXT, "knowledge concept": TEXT, "question": TEXT, "option": TEXT, "answer": TEXT}
        | {"image_path": Image(), "key": TEXT, "question number": NUMBER, "knowledge concept description": TEXT},
        {"ID": "3steps_1", "question": "How long?", "option": "A. 1 cm; B. 2 cm; C. No correct answer", "answer": "B"}
        | {"image_path": picture(7), "key": "3steps_multi", "question number": 1},
    ),
    "math500": (
        {"problem": TEXT, "solution": TEXT, "answer": TEXT, "subject": TEXT, "level": NUMBER, "unique_id": TEXT},
        {
            "problem": "1 + 1?",
            "solution": "see x",
            "answer": "2",
            "subject": "Algebra",
            "level": 1,
            "unique_id": "a/1.json",
        },
    ),
    "aime25": ({"problem": TEXT, "answer": TEXT, "id": TEXT}, {"problem": "Find n.", "answer": "70", "id": "0"}),
    "olympiadbench": (
        {"id": NUMBER, "question": TEXT, "solution": SEVERAL, "final_answer": SEVERAL, "context": TEXT}
        | {f"image_{n}": Image() for n in range(1, 6)}
        | {"modality": TEXT, "difficulty": TEXT, "is_multiple_answer": Value("bool"), "unit": TEXT, "subfield": TEXT},
        {"id": 1606, "question": "Find n.", "solution": ["..."], "final_answer": ["2"], "subfield": "Algebra"},
    ),
    "visualpuzzles": (PAPERS, PAPERS_ROW),
    "mathvision": (PAPERS, PAPERS_ROW),
    "mathverse": (PAPERS, PAPERS_ROW),
    "mathvista": (
        {"pid": TEXT, "question": TEXT, "image": TEXT, "decoded_image": Image(), "choices": SEVERAL, "unit": TEXT}
        | {"precision": Value("float64"), "answer": TEXT, "question_type": TEXT, "metadata": {"task": TEXT}},
        {"pid": "1", "question": "which?", "image": "images/1.jpg", "decoded_image": picture(7), "choices": ["4", "6"]}
        | {"answer": "6", "question_type": "multi_choice", "metadata": {"task": "figure"}},
    ),
}

ASKED = {  # hub id, config, split; group, task, accepted answers, widths of the pictures, the end of what is said
    "mmmu-pro": (
        ("MMMU/MMMU_Pro", "standard (10 options)", "test"),
        ("high", "Art", ("B", "it's blue"), [7, 9], "?\nA. red\nB. it's blue"),
    ),
    "logicvista": (("lscpku/LogicVista", None, "test"), ("high", "logicvista", ("A",), [7], "(A) one (B) two")),
    "geo3k": (("hiyouga/geometry3k", None, "test"), ("low", "geo3k", ("3",), [7], "Find x.")),
    "we-math": (
        ("We-Math/We-Math", None, "testmini"),
        ("low", "we-math", ("B",), [7], "How long?\nA. 1 cm; B. 2 cm; C. No correct answer"),
    ),
    "math500": (("HuggingFaceH4/MATH-500", None, "test"), ("text", "Algebra", ("2",), [], "1 + 1?")),
    "aime25": (("math-ai/aime25", None, "test"), ("text", "aime25", ("70",), [], "Find n.")),
    "olympiadbench": (
        ("Hothan/OlympiadBench", "OE_TO_maths_en_COMP", "train"),
        ("text", "Algebra", ("2",), [], "Find n."),
    ),
    "visualpuzzles": (
        ("tomyoon2/OPD_VisualPuzzles", None, "train"),
        ("unknown", "visualpuzzles", ("4",), [7], "how many?"),
    ),
    "mathvision": (("tomyoon2/OPD_MathVision", None, "train"), ("unknown", "mathvision", ("4",), [7], "how many?")),
    "mathverse": (
        ("tomyoon2/OPD_MathVerse_VisionIntensive", None, "test"),
        ("unknown", "mathverse", ("4",), [7], "how many?"),
    ),
    "mathvista": (
        ("AI4Math/MathVista", None, "testmini"),
        ("unknown", "figure", ("B", "6"), [7], "which?\nA. 4\nB. 6"),
    ),
}


@pytest.fixture
def hub(monkeypatch):
    """Answers for the hub with a row of a schema; keeps what was asked for."""
    calls, rows = [], {}

    def load_dataset(source, config=None, *, split, streaming):
        calls.append((source, config, split))
        features, row = rows["it"]
        full = {name: [row.get(name)] for name in features}
        return Dataset.from_dict(full, features=Features(features)).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls, rows


def test_every_benchmark_is_tried():
    assert set(SCHEMAS) == set(ASKED) == set(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_row_of_each(hub, name):
    calls, rows = hub
    rows["it"] = SCHEMAS[name]
    where, (group, task, answers, widths, end) = ASKED[name]
    for source in (name, where[0]):
        [prompt] = load_prompts(source)
        assert (prompt.dependency, prompt.task, prompt.answers) == (group, task, answers)
        assert [shown.size[0] for shown in prompt.images] == widths
        assert prompt.text.endswith(end)
    assert calls[0] == where


def test_the_default_split_is_that_of_evaluation_unless_the_hub_id_has_it(hub):
    calls, rows = hub
    rows["it"] = SCHEMAS["geo3k"]
    for source, split in (("geo3k", "train"), ("geo3k", "validation"), ("hiyouga/geometry3k", "train")):
        load_prompts(source, split=split)
    assert [split for _, _, split in calls] == ["test", "validation", "train"]
    rows["it"] = SCHEMAS["math500"]
    load_prompts("HuggingFaceH4/MATH-500", split="train")
    assert calls[-1][2] == "test"


def test_columns_that_are_given_replace_those_of_the_benchmark(hub):
    rows = hub[1]
    rows["it"] = SCHEMAS["math500"]
    read = prompt_set("math500", reading=Reading(columns="task=level,answer=solution"))
    assert (read.prompts[0].task, read.prompts[0].answer) == ("1", "see x")
    assert read.lines[0] == (
        "prompts: math500: problem from problem, answer from solution, task from level;"
        " not read: answer, subject, unique_id"
    )


def test_where_letters_are_judged_an_answer_must_be_one(hub):
    rows = hub[1]
    features, row = SCHEMAS["we-math"]
    rows["it"] = features, row | {"answer": "2 cm"}
    with pytest.raises(PromptError, match="`answer` must be a letter, .*`option`, got '2 cm'"):
        load_prompts("we-math")
    rows["it"] = features, row | {"option": None, "answer": "2 cm"}
    with pytest.raises(PromptError, match="`answer` must be a letter of a choice, got '2 cm'"):
        load_prompts("we-math")


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch, hub):
    monkeypatch.chdir(tmp_path)
    Dataset.from_dict({"problem": ["a"]}).save_to_disk("geo3k")
    assert load_prompts("geo3k")[0].text == "a" and not hub[0]


def test_a_name_that_is_none_is_answered_with_those_that_are(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no such data set\nand more")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(
        PromptError, match=r"geo4k is neither .* \(no such data set\); the benchmarks are mmmu-pro, .*geo3k"
    ):
        load_prompts("geo4k")
