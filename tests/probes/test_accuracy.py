"""The accuracy probe: what it counts, and that it can leave the pictures out."""

import json

import pandas as pd
import pytest

from probes import accuracy
from records import read_record
from tests import models
from vlm.responses.evaluation import Verdict
from vlm.responses.rollouts import Rollout


def run(checkpoints, tmp_path, *argv):
    out = tmp_path / "-".join(("record", *argv)).replace("/", "_")[-60:]
    argv = [str(checkpoints / "student"), "--limit", "6", "--max-response", "4", "--out", str(out), *argv]
    assert accuracy.main(argv) == 0
    return read_record(out, "rollouts")


def test_greedy_and_sampled_answers_are_recorded(checkpoints, tmp_path, capsys):
    greedy = run(checkpoints, tmp_path).tables["rollouts"]
    assert len(greedy) == 6 and greedy["has_image"].sum() == 5
    printed = capsys.readouterr().out
    assert "correct %" in printed and "without a box" in printed
    sampled = run(checkpoints, tmp_path, "--samples", "2")
    assert len(sampled.tables["rollouts"]) == 12
    assert sampled.header["settings"]["samples"] == 2


def test_pictures_can_be_left_out(checkpoints, tmp_path):
    rollouts = run(checkpoints, tmp_path, "--without-image").tables["rollouts"]
    assert not rollouts["has_image"].any()
    assert not rollouts["prompt"].str.contains("<image>").any()


def test_an_unknown_answer_is_neither_right_nor_wrong(checkpoints, tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"problem": "how much is 1 plus 1?"}) + "\n")
    rollouts = run(checkpoints, tmp_path, "--prompts", str(path)).tables["rollouts"]
    assert rollouts["correct"].isna().all() and not rollouts["boxed"].any()
    said = capsys.readouterr().out
    assert "no accuracy: none of the prompts states an answer (1 responses)" in said and "correct %" not in said


ROWS = [
    ("high", "a", "p", True, True),
    ("high", "a", "q", False, False),
    ("high", "a", "u", None, False),
    ("low", "b", "r", True, True),
    ("low", "b", "s", True, True),
]


def test_the_table_counts_by_group_then_by_task():
    table = pd.DataFrame(ROWS, columns=["dependency", "task", "prompt_id", "correct", "boxed"])
    *lines, last = [line.split() for line in accuracy.accuracy_table(table).splitlines()[1:]]
    assert [line[:4] + line[-1:] for line in lines] == [
        ["dependency", "high", "2", "50.0", "1"],
        ["dependency", "low", "2", "100.0", "0"],
        ["task", "a", "2", "50.0", "1"],
        ["task", "b", "2", "100.0", "0"],
    ]
    assert " ".join(last) == "not judged: 1 of 5 responses, whose prompts state no answer"


def test_records_from_before_boxes_were_counted_still_have_accuracy():
    table = pd.DataFrame(ROWS[:2], columns=["dependency", "task", "prompt_id", "correct", "boxed"]).drop(
        columns="boxed"
    )
    assert accuracy.accuracy_table(table).splitlines()[1].split()[-1] == "-"


def test_any_of_several_accepted_answers_is_right(checkpoints, tmp_path, monkeypatch):
    """The model's own text in a box, as one of two accepted answers."""
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"problem": "how much?", "answer": ["2", "two"]}) + "\n")
    monkeypatch.setattr("probes.sampling.generate", lambda *a, **k: [Rollout("0", 0, (1,), "\\boxed{two}", False)])
    [row] = run(checkpoints, tmp_path, "--prompts", str(path)).tables["rollouts"].to_dict("records")
    assert (row["correct"], row["boxed"], row["answer"]) == (True, True, "2 or two")


@pytest.mark.parametrize(
    ("text", "is_boxed"), [(r"so \boxed{4}", True), ("4", False), (r"\boxed{4", False), (r"\fbox{5}", True)]
)
def test_what_counts_as_boxed(text, is_boxed):
    verdict = Verdict(models.scenes(1)[0], Rollout("0", 0, (1,), text, False), correct=False)
    assert verdict.is_boxed is is_boxed
