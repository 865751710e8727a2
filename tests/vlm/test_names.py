"""Names that stand for a checkpoint and for prompts that are drawn."""

from pathlib import Path

import pytest

from vlm import names
from vlm.prompts.prompt import Prompt


@pytest.fixture(autouse=True)
def _names_reset(monkeypatch):
    for table in ("_CHECKPOINTS", "_PROMPTS", "_EVALUATION_PROMPTS"):
        monkeypatch.setattr(names, table, {})


def draw(task):
    return lambda n, seed: [Prompt(f"{task}-{seed}-{k}", (), (), "1", task) for k in range(n)]


def test_a_name_stands_for_a_folder_and_for_prompts():
    names.register("mine", checkpoint=Path("/student"), prompts=draw("a"), evaluation=draw("b"))
    assert names.resolve("mine") == "/student"
    assert [prompt.prompt_id for prompt in names.drawn_prompts("mine")(2, 7)] == ["a-7-0", "a-7-1"]
    assert [prompt.task for prompt in names.drawn_evaluation_prompts("mine")(2, 7)] == ["b", "b"]


def test_a_last_evaluation_draws_from_the_same_prompts_by_default():
    names.register("mine", checkpoint=Path("/student"), prompts=draw("a"))
    assert names.drawn_evaluation_prompts("mine")(1, 3) == names.drawn_prompts("mine")(1, 3)


def test_other_sources_are_not_drawn():
    assert names.resolve("folder") == "folder"
    assert names.drawn_prompts("file.jsonl") is None and names.drawn_evaluation_prompts("file.jsonl") is None
