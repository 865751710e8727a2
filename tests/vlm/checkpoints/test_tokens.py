"""Which tokens two models must share, and what is drawn and scored where one has more."""

import json

import pytest

from tests import models
from vlm.checkpoints.checkpoint import CheckpointError
from vlm.checkpoints.pair import load_pair
from vlm.responses.rollouts import Sampling, generate
from vlm.responses.scoring import score
from vlm.views.view import image_view, text_view


@pytest.fixture
def student(checkpoints, tmp_path):
    """A copy of the student, to be changed."""
    return models.copy_of(checkpoints / "student", tmp_path / "changed")


@pytest.fixture
def teacher(checkpoints):
    return str(checkpoints / "teacher")


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def longer(folder, n):
    """Give a checkpoint's tokenizer further words; return the number it had."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    before = max(vocabulary.values()) + 1
    vocabulary |= {f"further{k}": before + k for k in range(n)}
    path.write_text(json.dumps(content))
    return before


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_ids_beyond_those_of_both_are_neither_drawn_nor_scored(checkpoints, student, side):
    n = longer(student, 3)
    sides = {"student": str(checkpoints / "student"), "teacher": str(checkpoints / "teacher")}
    if side == "teacher":
        student = models.copy_of(checkpoints / "teacher", student.parent / "teacher")
        longer(student, 3)
    pair = load_pair(*(sides | {side: str(student)}).values())
    assert pair.warnings == (f"the {side} has 3 ids that the other lacks; they are not drawn and enter no score",)
    assert pair.n_ids == pair.student.n_ids == n
    assert set(range(n, n + 3)) <= set(pair.student.banned_ids)
    prompts = [prompt for prompt in models.scenes(4) if prompt.images]
    rollouts = generate(pair.student, prompts, Sampling(max_response=6))
    assert all(index < n for rollout in rollouts for index in rollout.token_ids)
    views = [(image_view(prompt), text_view(prompt)) for prompt in prompts]
    assert all(four.student_image.shape[1] == n for four in score(pair, views, rollouts))


def test_a_vocabulary_that_differs_inside_says_how_many_ids_agree(student, teacher):
    longer(student, 2)
    path = student / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    one, two = [word for word, index in vocabulary.items() if index in (20, 21)]
    vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError) as caught:
        load_pair(str(student), teacher)
    n = max(vocabulary.values()) + 1 - 2
    assert f"differs at id 20: {two!r} for the student and {one!r} for the teacher" in str(caught.value)
    assert f"{n - 2} of {n} ids are the same token" in str(caught.value)


def test_end_ids_must_meet_and_may_differ(student, teacher):
    path = student / "generation_config.json"
    (end,) = load_pair(str(student), teacher).student.end_ids
    edit(path, eos_token_id=[end, 9])
    (note,) = load_pair(str(student), teacher).warnings
    assert note == f"responses end at {tuple(sorted((end, 9)))} for the student and at ({end},) for the teacher"
    edit(path, eos_token_id=[9])
    edit(student / "tokenizer_config.json", eos_token="<|unk|>")
    with pytest.raises(CheckpointError, match="`end ids` is"):
        load_pair(str(student), teacher)


def test_another_way_of_cutting_text_is_a_note(student, teacher):
    edit(student / "tokenizer.json", pre_tokenizer={"type": "Whitespace"})
    (note,) = load_pair(str(student), teacher).warnings
    assert note == "the tokenizers cut text differently; each model reads prompts with its own"
