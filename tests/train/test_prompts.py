"""Prompts of a step depend on the seed and the step alone."""

import json

import pytest

from cli.errors import OptionError
from train.config import Config
from train.prompts import prompt_source


def ids(source, step):
    return [prompt.prompt_id for prompt in source.at(step)]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"problem": f"{n}?", "answer": "1"}) + "\n" for n in range(13)))
    return str(path)


def test_bundled_scenes_are_new_in_each_step_and_seed():
    source, other = prompt_source(Config(batch=4)), prompt_source(Config(batch=4, seed=1))
    assert ids(source, 3) == ids(source, 3)
    assert not set(ids(source, 3)) & (set(ids(source, 4)) | set(ids(other, 3)))
    assert not set(ids(source, 0)) & {prompt.prompt_id for prompt in source.held_out}


def test_a_file_is_gone_through_once_an_epoch_without_what_is_held_out(file):
    source = prompt_source(Config(prompts=file, held_out=3, batch=5))
    epochs = [[number for step in (2 * epoch, 2 * epoch + 1) for number in ids(source, step)] for epoch in (0, 1)]
    assert [prompt.prompt_id for prompt in source.held_out] == ["0", "1", "2"]
    assert [sorted(epoch, key=int) for epoch in epochs] == [[str(n) for n in range(3, 13)]] * 2
    assert epochs[0] != epochs[1]
    assert ids(prompt_source(Config(prompts=file, held_out=3, batch=5, seed=1)), 0) != epochs[0][:5]


def test_the_last_of_a_file_are_left_out(file):
    source = prompt_source(Config(prompts=file, held_out=3, left_out=2, batch=4))
    seen = {number for step in range(4) for number in ids(source, step)}
    assert seen == {str(n) for n in range(3, 11)}
    assert [prompt.prompt_id for prompt in source.held_out] == ["0", "1", "2"]


def test_nothing_is_left_of_a_file_that_is_left_out(file):
    with pytest.raises(OptionError, match="`batch` must be at most 0"):
        prompt_source(Config(prompts=file, held_out=3, left_out=20, batch=4))


def test_drawn_prompts_cannot_be_left_out():
    with pytest.raises(OptionError, match="`left_out` must be 0 for prompts that are drawn, got 2"):
        prompt_source(Config(left_out=2))


def test_prompts_of_every_kind_are_read_as_the_flags_say(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"q": f"{n}?", "gold": n}) + "\n" for n in range(5)))
    flags = {"columns": "problem=q,answer=gold", "system_prompt": "be brief"}
    source = prompt_source(Config(prompts=str(tmp_path / "a.jsonl"), held_out=2, batch=3, **flags))
    assert [prompt.answer for prompt in source.held_out] == ["0", "1"]
    assert source.lines == (
        f"prompts: {tmp_path / 'a.jsonl'}: problem from q, answer from gold",
        "prompts: 5, 0 with pictures, 5 with an answer",
    )
    drawn = prompt_source(Config(batch=2, held_out=2, system_prompt="be brief"))
    for prompt in (*source.held_out, *source.at(0), *drawn.held_out, *drawn.at(0)):
        assert prompt.text.startswith("be brief ")


def test_held_out_prompts_of_their_own_are_said_apart(file):
    source = prompt_source(Config(prompts=file, held_out_prompts="bundled", held_out=3, batch=5))
    assert [line.split(": ")[0] for line in source.lines] == ["prompts"] * 2 + ["held-out prompts"] * 2
    assert source.lines[3] == "held-out prompts: 3, 3 with pictures, 3 with an answer"
