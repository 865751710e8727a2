"""Questions are answered by what the picture, or the question, says."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundled.architecture import tokenizer
from bundled.scenes import Circles, Grid, Lines
from bundled.tasks import TASKS, Example, sample
from vlm.answers.judge import boxed_answer, is_correct

SEEDS = st.integers(0, 10**6)


@pytest.mark.parametrize("task", list(TASKS))
@given(seed=SEEDS)
def test_the_worded_response_holds_the_answer(task: str, seed: int) -> None:
    example = sample(task, Random(seed))
    assert boxed_answer(example.response) == example.answer
    assert is_correct(example.response, example.answer)
    assert example.response.startswith("<reason>") and "</reason>" in example.response


@pytest.mark.parametrize("task", list(TASKS))
@given(seed=SEEDS)
def test_dependency_says_whether_there_is_a_picture(task: str, seed: int) -> None:
    example = sample(task, Random(seed))
    assert (example.scene is None) == (example.dependency == "text")


@pytest.mark.parametrize("task", [name for name, (dependency, _) in TASKS.items() if dependency == "high"])
@given(seed=SEEDS)
def test_the_answer_is_read_off_the_scene(task: str, seed: int) -> None:
    example = sample(task, Random(seed))
    assert example.answer == _looked_up(example)


@pytest.mark.parametrize("task", list(TASKS))
@given(seed=SEEDS)
def test_every_word_is_in_the_vocabulary(task: str, seed: int) -> None:
    example = sample(task, Random(seed))
    ids = TOKENIZER(f"{example.question} {example.response}")["input_ids"]
    assert TOKENIZER.unk_token_id not in ids


@pytest.mark.parametrize("task", list(TASKS))
def test_one_question_is_worded_in_several_ways(task: str) -> None:
    skeletons = {re.sub(r"\d+", "#", sample(task, Random(seed)).response) for seed in range(200)}
    assert len(skeletons) > 10


TOKENIZER = tokenizer()


def _looked_up(example: Example) -> str:
    """The answer found by a reader who knows the scene and reads the question."""
    scene, words = example.scene, re.findall(r"\w+", example.question)
    if isinstance(scene, Circles):
        return "yes" if scene.touch else "no"
    if isinstance(scene, Lines):
        return str(scene.crossings)
    assert isinstance(scene, Grid)
    if example.task == "count":
        return str(sum(item.colour in words or item.shape in words for item in scene.items))
    (item,) = scene.items
    return getattr(item, example.task)
