"""Every source of prompts, and every way in which one can be wrong."""

import io
import json
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import Image as Picture
from PIL import Image

import bundled  # noqa: F401  # makes its name known
from cli.errors import OptionError, UserError
from vlm.prompts.prompt import prompts_fingerprint
from vlm.prompts.reading import Reading
from vlm.prompts.sources import PromptError, load_prompts

RED = Image.new("RGB", (8, 6), (255, 0, 0))


def png() -> bytes:
    buffer = io.BytesIO()
    RED.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "red.png").write_bytes(png())
    return tmp_path


def jsonl(folder, *rows):
    path = folder / "rows.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def kinds(prompt):
    return [part["type"] for message in prompt.messages for part in message["content"]]


def test_bundled_scenes_are_the_same_for_a_seed():
    first, again, other = (load_prompts("bundled", limit=6, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert {prompt.dependency for prompt in first} == {"high", "low", "text"}


def test_a_problem_with_a_picture_beside_the_file(folder):
    row = {
        "problem": "what is it?",
        "answer": "red",
        "images": ["red.png"],
        "id": "a7",
        "task": "t",
        "dependency": "low",
    }
    [prompt] = load_prompts(jsonl(folder, row))
    assert (prompt.prompt_id, prompt.answer, prompt.task, prompt.dependency) == ("a7", "red", "t", "low")
    assert kinds(prompt) == ["image", "text"]
    assert prompt.images[0].load().getpixel((0, 0)) == (255, 0, 0)
    assert prompt.text == "<image> what is it?"


def test_markers_say_where_pictures_stand(folder):
    row = {"problem": "is <image> like <image> ?", "images": ["red.png", "red.png"]}
    [prompt] = load_prompts(jsonl(folder, row))
    assert kinds(prompt) == ["text", "image", "text", "image", "text"]


def test_without_a_picture(folder):
    pictured, bare = load_prompts(jsonl(folder, {"problem": "1 + 1?", "images": "red.png"}, {"problem": "1 + 1?"}))
    assert (pictured.dependency, bare.dependency) == ("unknown", "text")
    assert pictured.has_image and not bare.has_image
    assert bare.answer == ""


@pytest.mark.parametrize("content", ["what?", [{"type": "text", "text": "what?"}]])
def test_conversations_without_parts_for_their_pictures(folder, content):
    system = {"role": "system", "content": "be brief"}
    [prompt] = load_prompts(
        jsonl(folder, {"prompt": [system, {"role": "user", "content": content}], "images": ["red.png"]})
    )
    assert kinds(prompt) == ["text", "image", "text"]
    assert [message["role"] for message in prompt.messages] == ["system", "user"]


def test_conversations_with_parts_for_their_pictures(folder):
    content = [{"type": "text", "text": "look"}, {"type": "image"}]
    [prompt] = load_prompts(jsonl(folder, {"prompt": [{"role": "user", "content": content}], "images": ["red.png"]}))
    assert kinds(prompt) == ["text", "image"]


def test_parquet_with_bytes_and_missing_cells(folder):
    rows = [
        {"problem": "a", "images": [{"bytes": png(), "path": None}], "answer": "red", "id": None},
        {"problem": "b", "images": None, "answer": None, "id": None},
    ]
    pd.DataFrame(rows).to_parquet(folder / "rows.parquet")
    first, second = load_prompts(str(folder / "rows.parquet"))
    assert first.images[0].size == (8, 6)
    assert (first.prompt_id, second.prompt_id, second.answer) == ("0", "1", "")


def test_a_datasets_folder_with_and_without_splits(folder):
    rows = Dataset.from_dict({"problem": ["a", "b"], "images": [[{"bytes": png(), "path": None}], []]})
    rows.save_to_disk(folder / "one")
    DatasetDict({"val": rows}).save_to_disk(folder / "split")
    for source in (load_prompts(str(folder / "one")), load_prompts(str(folder / "split"), split="val")):
        assert [prompt.has_image for prompt in source] == [True, False]
    with pytest.raises(PromptError, match="`split` must be one of val in .*, got 'train'"):
        load_prompts(str(folder / "split"))


def test_a_limit_reads_no_further(folder):
    assert len(load_prompts(jsonl(folder, {"problem": "a"}, "not JSON"), limit=1)) == 1


USER = {"role": "user", "content": "what?"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "row 0 is not JSON"),
        ("[1]", "row 0 must be a JSON object, got list"),
        ({"asked": "a"}, r"row 0 must have a column `problem` or `prompt`, or another that is usual, got \['asked'\]"),
        ({"problem": None}, "must have a column `problem` or `prompt`"),
        ({"problem": "<image> a"}, "row 0 has 1 markers <image> but 0 images"),
        ({"problem": "a", "images": ["none.png"]}, "row 0 has an unreadable image"),
        ({"problem": "a", "images": ["broken.png"]}, "row 0 has an unreadable image"),
        ({"problem": "a", "images": ["text.png"]}, "row 0 has an unreadable image"),
        ({"prompt": 5}, "`prompt` must be a text or a list of messages, got int"),
        ({"prompt": [{"role": "user"}]}, "a message must have `role` and `content`"),
        ({"prompt": ["a"]}, "a message must have `role` and `content`"),
        ({"prompt": [{"role": "user", "content": [{"type": "video"}]}]}, "a part of type 'video'"),
        ({"prompt": [{"role": "system", "content": "a"}]}, "`prompt` must hold a message of role user"),
        ({"prompt": [{"role": "user", "content": [{"type": "image"}]}]}, "has 1 image parts but 0 images"),
    ],
)
def test_a_wrong_row_is_named(folder, row, message):
    (folder / "broken.png").write_bytes(png()[:12] + b"no picture")
    (folder / "text.png").write_text("no picture")
    with pytest.raises(UserError, match=message) as caught:
        load_prompts(jsonl(folder, row))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b"", "must hold at least one prompt, but .* is empty"),
        ("rows.jsonl", b"\n \n", "is empty"),
        ("rows.jsonl", b'{"problem": "\xff"}', "row 0 is not JSON"),
        ("rows.parquet", b"no parquet", "is not a parquet file"),
        ("rows.csv", b"problem", "must be .jsonl or .parquet"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PromptError, match=message):
        load_prompts(str(tmp_path / name))


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(PromptError, match="which does not exist"):
        load_prompts(str(tmp_path / "none.jsonl"))
    with pytest.raises(PromptError, match="neither a file, a datasets folder nor a hub id"):
        load_prompts(str(tmp_path))
    with pytest.raises(PromptError, match="neither a file, a datasets folder nor a hub id"):
        load_prompts("nobody/nothing")


@pytest.mark.parametrize(
    "address",
    ["hf://datasets/me/none/x.parquet", "hf://datasets/me/none@main/x.jsonl", "hf://me/none", "hf://", "s3://a/x.json",
     "https://huggingface.co/datasets/me/none", "zip://x::hf://datasets/a/b.zip", "hf://datasets/me/none/x.txt"],
)  # fmt: skip
def test_an_address_is_no_source_of_prompts(address):
    with pytest.raises(PromptError, match="got the address .*: give the hub id alone, such as me/data, or download"):
        load_prompts(address)


@pytest.mark.parametrize("name", ["me/none", "hf://datasets/me/none"])
def test_a_set_that_is_not_here_is_not_fetched_while_the_hub_may_not_be_asked(name):
    with pytest.raises(
        PromptError, match=r"\(HF_HUB_OFFLINE is set .*: unset the variable, or give a file\)"
    ) as caught:
        load_prompts(name)
    assert "\n" not in str(caught.value)


def test_an_id_stands_for_one_prompt(folder):
    with pytest.raises(PromptError, match="uses the id 'a' twice"):
        load_prompts(jsonl(folder, {"id": "a", "problem": "x"}, {"id": "a", "problem": "y"}))


def test_a_row_can_have_arguments_for_its_chat_template(tmp_path):
    rows = [
        {"problem": "a", "chat_template_kwargs": {"enable_thinking": False, "other": None}},
        {"problem": "b", "chat_template_kwargs": '{"enable_thinking": true}'},
        {"problem": "c"},
    ]
    found = [prompt.template_args for prompt in load_prompts(jsonl(tmp_path, *rows))]
    assert found == [{"enable_thinking": False}, {"enable_thinking": True}, {}]
    for wrong in ([1], "no JSON", {"tokenize": True}):
        with pytest.raises(UserError, match=r"row 0: `chat_template_kwargs` must"):
            load_prompts(jsonl(tmp_path, {"problem": "a", "chat_template_kwargs": wrong}))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "folder"])
def test_prompts_hold_the_bytes_of_their_files_and_not_their_pixels(tmp_path, name):
    """Eight pictures of a megapixel, 3 MB each as pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3)).astype("uint8")
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((1000, 1000)).save(buffer, "JPEG", quality=80)
    data, rows = buffer.getvalue(), range(8)
    for n in rows:
        (tmp_path / f"{n}.jpg").write_bytes(data)
    if name == "folder":
        features = Features({"problem": Value("string"), "image": Picture()})
        held = {"problem": ["a"] * 8, "image": [{"bytes": data, "path": None}] * 8}
        Dataset.from_dict(held, features=features).save_to_disk(tmp_path / name)
    elif name == "rows.parquet":
        pd.DataFrame([{"problem": "a", "images": [{"bytes": data, "path": None}]} for _ in rows]).to_parquet(
            tmp_path / name
        )
    else:
        jsonl(tmp_path, *({"problem": "a", "images": [f"{n}.jpg"]} for n in rows))
    load_prompts(str(tmp_path / name), limit=1)  # imports
    tracemalloc.start()
    prompts = load_prompts(str(tmp_path / name))
    prompts_fingerprint(prompts)
    held_bytes, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(prompts) == 8 and all(prompt.images[0].size == (1000, 1000) for prompt in prompts)
    assert max(held_bytes, most / 2) < 1.5 * 8 * len(data) < 8 * 3_000_000 / 5


def test_a_number_of_32_bits_is_the_decimal_that_it_was(tmp_path):
    answers = pa.array([0.1, 3.14, 2.0, None], pa.float32())
    pq.write_table(pa.table({"question": list("abcd"), "answer": answers}), tmp_path / "rows.parquet")
    Dataset(pa.table({"question": list("abcd"), "answer": answers})).save_to_disk(str(tmp_path / "saved"))
    for source in ("rows.parquet", "saved"):
        assert [p.answer for p in load_prompts(str(tmp_path / source))] == ["0.1", "3.14", "2.0", ""]


def test_a_class_is_its_name(tmp_path):
    features = Features({"question": Value("string"), "answer": ClassLabel(names=["cat", "dog"])})
    rows = Dataset.from_dict({"question": ["a", "b", "c"], "answer": [1, 0, None]}, features=features)
    rows.save_to_disk(str(tmp_path / "saved"))
    assert [p.answer for p in load_prompts(str(tmp_path / "saved"))] == ["dog", "cat", ""]


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    pq.write_table(pa.table([["a"], ["b"]], names=["question", "question"]), tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text('{"question": "a", "answer": "x", "question": "b"}')
    with pytest.raises(PromptError, match="several columns `question`; rename all but one"):
        load_prompts(str(tmp_path / "rows.parquet"))
    with pytest.raises(PromptError, match=r"row 0 is not JSON \(it has 'question' twice\)"):
        load_prompts(str(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize("given", [{"columns": "problem=question"}, {"image_root": "."}, {"allow_remote": True}])
def test_settings_of_rows_are_refused_for_drawn_prompts(given):
    with pytest.raises(OptionError, match=f"`{next(iter(given))}` is about rows of a file, but bundled draws"):
        load_prompts("bundled", limit=1, reading=Reading(**given))
