"""The accuracy probe: what it counts, and that it can leave the pictures out."""

import json

import pandas as pd

from probes import accuracy
from records import read_record


def run(checkpoints, tmp_path, *argv):
    out = tmp_path / "-".join(("record", *argv)).replace("/", "_")[-60:]
    argv = [str(checkpoints / "student"), "--limit", "6", "--max-response", "4", "--out", str(out), *argv]
    assert accuracy.main(argv) == 0
    return read_record(out, "rollouts")


def test_greedy_and_sampled_answers_are_recorded(checkpoints, tmp_path, capsys):
    greedy = run(checkpoints, tmp_path).tables["rollouts"]
    assert len(greedy) == 6 and greedy["has_image"].sum() == 5
    printed = capsys.readouterr().out
    assert "correct %" in printed and "of 6 answers stand in no" in printed
    sampled = run(checkpoints, tmp_path, "--samples", "2")
    assert len(sampled.tables["rollouts"]) == 12
    assert sampled.header["settings"]["samples"] == 2


def test_pictures_can_be_left_out(checkpoints, tmp_path):
    rollouts = run(checkpoints, tmp_path, "--without-image").tables["rollouts"]
    assert not rollouts["has_image"].any()
    assert not rollouts["prompt"].str.contains("<image>").any()


def test_an_unknown_answer_is_neither_right_nor_wrong(checkpoints, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"problem": "how much is 1 plus 1?"}) + "\n")
    rollouts = run(checkpoints, tmp_path, "--prompts", str(path)).tables["rollouts"]
    assert rollouts["correct"].isna().all()


def test_the_table_counts_by_group_then_by_task():
    rows = [("high", "a", "p", True), ("high", "a", "q", False), ("low", "b", "r", True), ("low", "b", "s", True)]
    table = pd.DataFrame(rows, columns=["dependency", "task", "prompt_id", "correct"])
    lines = [line.split() for line in accuracy.accuracy_table(table).splitlines()[1:]]
    assert [line[:4] for line in lines] == [
        ["dependency", "high", "2", "50.0"],
        ["dependency", "low", "2", "100.0"],
        ["task", "a", "2", "50.0"],
        ["task", "b", "2", "100.0"],
    ]


def test_answers_without_a_box_are_counted_where_an_answer_is_known():
    rows = [(r"so \boxed{4}", True), ("4", False), (r"\boxed{4", False), (r"\fbox{5}", False), ("4", None)]
    table = pd.DataFrame(rows, columns=["response", "correct"])
    assert accuracy.unboxed_line(table) == r"2 of 4 answers stand in no \boxed{} and count as wrong."
