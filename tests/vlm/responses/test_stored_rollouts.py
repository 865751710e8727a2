"""Responses from files and rows: what is read as what, which prompt a row is of, and what is refused by name."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cli.errors import OptionError
from tests import models
from vlm.prompts.prompt import Prompt
from vlm.responses.rollouts import Rollout
from vlm.responses.stored_rollouts import file_fingerprint, read_stored
from vlm.views.view import image_view, render

IDS = [20, 21, 2]


def asked(prompt_id, text, *, system=None):
    messages = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    messages.append({"role": "user", "content": [{"type": "text", "text": text}]})
    return Prompt(prompt_id, tuple(messages), (), "")


PROMPTS = [
    *models.scenes(3),
    asked("q0", "add 1 and 2", system="be short"),
    asked("same-1", "add 3 and 3"),
    asked("same-2", "add  3\nand 3"),
]
PICTURED = PROMPTS[0]


@pytest.fixture
def read(pair):
    def reading(source, **options):
        return read_stored(source, PROMPTS, pair.student, pair.n_ids, **options)

    return reading


def row(**columns):
    return {"prompt_id": "q0", "response_ids": IDS} | columns


def written(path, rows):
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("ids", ["response_ids", "token_ids", "completion_ids"])
@pytest.mark.parametrize("log_probs", ["log_probs", "logprobs"])
def test_a_file_of_ids(read, tmp_path, suffix, ids, log_probs):
    rows = [
        {"prompt_id": "q0", ids: [20, 21, 2], log_probs: [-0.1, -2.0, 0.0], "reward": 1.0, "step": 7},
        {"prompt_id": PICTURED.prompt_id, ids: [30], log_probs: [-1.0], "reward": 0.0, "step": 7},
        {"prompt_id": "q0", ids: [22, 2], log_probs: [-0.5, -0.5], "reward": 0.5, "step": 8},
        {"prompt_id": "elsewhere", ids: [22, 2], log_probs: [-0.5, -0.5], "reward": 0.5, "step": 8},
    ]
    found = read(written(tmp_path / f"rows{suffix}", rows))
    assert [one.rollout.rollout_id for one in found.responses] == [f"{PICTURED.prompt_id}/0", "q0/0", "q0/1"]
    assert [one.rollout.token_ids for one in found.responses] == [(30,), (20, 21, 2), (22, 2)]
    assert [one.rollout.truncated for one in found.responses] == [True, False, False]
    assert [one.log_probs for one in found.responses] == [(-1.0,), (-0.1, -2.0, 0.0), (-0.5, -0.5)]
    assert [one.reward for one in found.responses] == [0.0, 1.0, 0.5]
    place = "line 4" if suffix == ".jsonl" else "row 3"
    assert found.left_out == 1 and place in found.first_left_out and "'elsewhere'" in found.first_left_out
    assert found.ignored == ("step",)
    assert any("columns that are not read: step" in note for note in found.notes)
    assert any("1 rows are left out" in note for note in found.notes)
    assert found.numbers()["mean_reward"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"response": "4 and"}, "4 and"),
        ({"completion": "4 and"}, "4 and"),
        ({"completion": [{"role": "assistant", "content": "4 and"}]}, "4 and"),
        ({"response": "4 and<|im_end|>"}, "4 and"),  # the end token is not doubled
        ({"response_ids": None, "response": "4 and"}, "4 and"),
    ],
)
def test_text_is_tokenized_and_ended(read, pair, columns, text):
    [one] = read([{"prompt_id": "q0"} | columns]).responses
    tokenizer = pair.student.processor.tokenizer
    assert one.rollout.token_ids == (*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id)
    assert one.rollout.text == text and one.is_text and not one.rollout.truncated
    assert "the ids that were sampled may have been others" in read([{"prompt_id": "q0"} | columns]).notes[0]


def test_ids_count_where_there_is_text_too(read):
    [one] = read([row(response="4")]).responses
    assert one.rollout.token_ids == tuple(IDS) and not one.is_text


@pytest.mark.parametrize(
    "prompt",
    [
        "add 1 and 2",
        "  add 1\n and 2 ",
        [{"role": "user", "content": "add 1 and 2"}],
        [{"role": "user", "content": [{"type": "text", "text": "add 1 and 2"}]}],
        [{"role": "system", "content": "be short"}, {"role": "user", "content": "add 1 and 2"}],
        [{"role": "system", "content": "another"}, {"role": "user", "content": "add 1 and 2"}],
    ],
)
def test_a_prompt_by_what_it_asks(read, prompt):
    assert read([{"prompt": prompt, "response_ids": IDS}]).rollouts[0].prompt_id == "q0"
    assert read([row(prompt=prompt)]).rollouts[0].prompt_id == "q0"


def test_a_prompt_with_a_picture_by_its_marker_its_parts_or_as_it_is_rendered(read, pair):
    said = PICTURED.messages[0]["content"][1]["text"]
    parts = [{"type": "image_url", "image_url": {"url": "x.png"}}, {"type": "text", "text": said}]
    rendered = render(image_view(PICTURED), pair.student.processor)
    for prompt in (said, f"<image>{said}", f"{said}\n<image>", [{"role": "user", "content": parts}], rendered):
        assert read([{"prompt": prompt, "response_ids": IDS}]).rollouts[0].prompt_id == PICTURED.prompt_id


def test_prompts_in_a_parquet_file(read, tmp_path):
    rows = [{"prompt": [{"role": "user", "content": "add 1 and 2"}], "response": "3"}]
    assert read(written(tmp_path / "rows.parquet", rows)).rollouts[0].prompt_id == "q0"


def test_rows_in_memory_may_hold_arrays(read):
    frame = pd.DataFrame([row(log_probs=np.array([-1.0, -1.0, -1.0]), response_ids=np.array(IDS))])
    [one] = read(frame.to_dict("records")).responses
    assert one.rollout.token_ids == tuple(IDS) and one.log_probs == (-1.0, -1.0, -1.0)


def test_padding_behind_the_end_token_is_no_part_of_a_response(read, pair):
    pad = pair.student.processor.tokenizer.pad_token_id
    [one] = read([row(response_ids=[*IDS, pad, pad, 2], log_probs=[-1.0] * 6)]).responses
    assert one.rollout.token_ids == tuple(IDS) and one.log_probs == (-1.0,) * 3 and not one.is_cut


def test_a_long_response_is_cut_and_said(read):
    found = read([row(log_probs=[-1.0, -2.0, -3.0])], longest=2)
    [one] = found.responses
    assert one.rollout.token_ids == (20, 21) and one.rollout.truncated and one.log_probs == (-1.0, -2.0)
    assert "1 of 1 responses are cut at `max_response`" in found.notes[0]


def test_line_separators_inside_a_line_do_not_cut_it(read, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row(note="a\u2028b\x85c"), ensure_ascii=False) + "\n\n" + json.dumps(row()), "utf-8")
    assert len(read(path).responses) == 2


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"response_ids": IDS}, "must be a JSON object with `prompt_id` or `prompt`"),
        ({"prompt_id": None, "response_ids": IDS}, "must be a JSON object with `prompt_id` or `prompt`"),
        (row(prompt_id=1.0), "`prompt_id` must be text or a whole number, got 1.0"),
        (row(prompt_id=True), "`prompt_id` must be text or a whole number, got True"),
        (row(prompt_id=["q0"]), "`prompt_id` must be text or a whole number"),
        (row(prompt=3), "`prompt` must be text, or messages with `role` and `content`, got 3"),
        (row(prompt=["add 1 and 2"]), "`prompt` must be text, or messages"),
        (row(prompt="add 3 and 3"), "prompt 'q0', quotes another `prompt`, 'add 3 and 3'"),
        ({"prompt": "add 3 and 3", "response_ids": IDS}, "is that of 2 prompts, such as 'same-1' and 'same-2'"),
        ({"prompt_id": "q0"}, "must have a text `response`, or `response_ids`"),
        (row(response_ids=[]), "must have a text `response`, or `response_ids` .* got 'none'"),
        (row(response_ids=[20, 10**6]), "`response_ids` below .*, got 1000000"),
        (row(response_ids=[20, -1]), "got -1"),
        (row(response_ids=[20, 2.0]), "got 2.0"),
        (row(response_ids=[20, None]), "got None"),
        (row(response_ids=[[20, 2]]), r"got \[20, 2\]"),
        (row(response_ids="20 2"), "must have a text `response`, or `response_ids`"),
        (row(token_ids=IDS), "has both `response_ids` and `token_ids`"),
        ({"prompt_id": "q0", "response": ""}, "prompt 'q0', has an empty `response`"),
        ({"prompt_id": "q0", "response": 3}, "must have a text `response`"),
        ({"prompt_id": "q0", "response": math.nan}, "must have a text `response`"),
        (row(response_ids=[20, 4, 2]), r"prompt 'q0', holds '<\|\w+\|>', which stands for a picture"),
        ({"prompt_id": "q0", "response": "<|image_pad|> 4"}, r"holds '<\|image_pad\|>', which stands for a picture"),
        (row(response_ids=[20, 2, 21]), "prompt 'q0', goes on behind its end token, with"),
        (row(log_probs=[-1.0, -1.0]), "must have a number in `log_probs` for each of 3 tokens, got 2"),
        (row(log_probs=[-1.0, math.nan, -1.0]), "must have `log_probs` that are finite numbers of at most 0"),
        (row(log_probs=[-1.0, -math.inf, -1.0]), "must have `log_probs` that are finite numbers of at most 0"),
        (row(log_probs=[-1.0, None, -1.0]), "must have `log_probs` that are finite numbers of at most 0"),
        (row(log_probs=[0.9, 0.8, 0.7]), "must have `log_probs` that are finite numbers of at most 0"),  # no logs
        (row(log_probs=-1.0), "must have `log_probs` that are finite"),
        ({"prompt_id": "q0", "response": "4", "log_probs": [-1.0]}, "got 1; give the `response_ids` that were sampled"),
        (row(reward=math.nan), "must have a finite number as `reward`, got nan"),
        (row(reward="good"), "must have a finite number as `reward`, got 'good'"),
        (3, "must be a JSON object with `prompt_id` or `prompt`"),
        (None, "must be a JSON object"),
    ],
)
def test_what_is_no_response_is_named(read, tmp_path, bad, named):
    for source, place in ((written(tmp_path / "rows.jsonl", [row(), bad]), "line 2"), ([row(), bad], "row 1")):
        with pytest.raises(OptionError, match=rf"^`rollouts`.*{place}.*{named}") as caught:
            read(source)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b'{"prompt_id": "q0"} {}', b"[1]", b"nonsense"])
def test_lines_that_are_no_json(read, tmp_path, content):
    (tmp_path / "rows.jsonl").write_bytes(b"\n" + content + b"\n")
    with pytest.raises(OptionError, match="line 2 must be a JSON object"):
        read(tmp_path / "rows.jsonl")


def test_files_that_cannot_be_read(read, tmp_path):
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 no parquet")
    (tmp_path / "empty.jsonl").write_text("")
    for name, said in {"rows.parquet": "is not a parquet file", "none.jsonl": "does not exist"}.items():
        with pytest.raises(OptionError, match=said):
            read(tmp_path / name)
    for source in (tmp_path / "empty.jsonl", [], [row(prompt_id="elsewhere")], [{"prompt": "?", "response": "4"}]):
        with pytest.raises(OptionError, match="must hold a response to one of the prompts, such as"):
            read(source)


def test_rollouts_are_taken_as_they_are(read):
    given = [Rollout("q0", 5, (20, 2), "x", False), Rollout("other", 0, (20, 2), "x", False)]
    found = read(given)
    assert found.rollouts == [replace(given[0], index=0)] and found.left_out == 1
    with pytest.raises(OptionError, match="row 0, prompt 'q0'"):
        read([replace(given[0], token_ids=(10**6,))])


def test_a_file_is_known_by_name_and_content(tmp_path):
    one, same, other = tmp_path / "rows.jsonl", tmp_path / "b" / "rows.jsonl", tmp_path / "c" / "rows.jsonl"
    for path, text in ((one, "x"), (same, "x"), (other, "y")):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert file_fingerprint(one) == file_fingerprint(same) != file_fingerprint(other)
    assert file_fingerprint(one).startswith("rows.jsonl ")


def test_a_rollout_as_a_trainer_logs_it(read, pair):
    tokenizer = pair.student.processor.tokenizer
    rendered = render(image_view(PICTURED), pair.student.processor)
    logged = tokenizer.decode(tokenizer(rendered)["input_ids"], skip_special_tokens=True)
    assert logged != rendered
    rows = [{"input": logged, "output": "red", "gts": "red", "score": 1.0, "step": 3}]
    stored = read(rows)
    assert [(r.prompt_id, r.text) for r in stored.rollouts] == [(PICTURED.prompt_id, "red")]
    assert stored.ignored == ("gts", "score", "step")


def test_padding_without_an_end_and_text_that_cannot_be_spelt_are_refused(read, pair):
    pad = pair.student.processor.tokenizer.pad_token_id
    assert read([row(response_ids=[*IDS, pad, pad])]).rollouts[0].token_ids == tuple(IDS)
    with pytest.raises(OptionError, match="row 0, prompt 'q0', ends in padding without an end token"):
        read([row(response_ids=[*IDS[:-1], pad, pad])])
    with pytest.raises(OptionError, match="a text that the student's tokenizer cannot spell"):
        read([{"prompt_id": "q0", "response": "red \u2603"}])
    with pytest.raises(OptionError, match="`response` with half of a character"):
        read([{"prompt_id": "q0", "response": "red \ud83d"}])
