"""Which prompts a study answers at the end, by where they come from."""

import json

import pytest

from bundled.prompts import bundled_prompts, group_prompts
from cli.errors import OptionError
from study.answers import DRAWN_SEED, evaluation_of


@pytest.fixture
def source(tmp_path):
    """Write prompts to a file; return its name."""

    def write(n, name="prompts", answer="1"):
        path = tmp_path / f"{name}.jsonl"
        rows = [{"id": f"{name}-{k}", "problem": f"{k}?", "answer": answer} for k in range(n)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def ids(evaluation):
    return [prompt.prompt_id for prompt in evaluation.prompts]


def test_bundled_scenes_are_six_one_and_one_of_eight():
    found = evaluation_of({}, 43)
    sizes = {"high": 32, "low": 5, "text": 5}
    assert {group: len(prompts) for group, prompts in found.groups.items()} == sizes
    assert list(found.prompts) == [p for group, n in sizes.items() for p in group_prompts(group, n, DRAWN_SEED)]
    assert found.left_out == 0


def test_bundled_scenes_are_not_those_of_probes():
    shown = {prompt.prompt_id for prompt in bundled_prompts(64, 0)}
    assert not shown & set(ids(evaluation_of({}, 80)))


def test_the_last_of_a_file_is_left_out_of_training(source):
    found = evaluation_of({"prompts": source(20)}, 3)
    assert ids(found) == ["prompts-17", "prompts-18", "prompts-19"] and found.left_out == 3


def test_a_fifth_of_a_file_by_default(source):
    assert evaluation_of({"prompts": source(23)}).left_out == 4


def test_held_out_prompts_are_taken_from_the_first(source):
    flags = {"prompts": source(20), "held_out_prompts": source(9, "other")}
    assert ids(evaluation_of(flags, 2)) == ["other-0", "other-1"]
    assert len(ids(evaluation_of(flags))) == 9 and evaluation_of(flags).left_out == 0


@pytest.mark.parametrize("n", [20, 21])
def test_more_prompts_than_there_are(source, n):
    with pytest.raises(OptionError, match=f"`answers` must be from 1 to 19 with .*, got {n}"):
        evaluation_of({"prompts": source(20)}, n)
    with pytest.raises(OptionError, match=f"`answers` must be from 1 to 9 with .*, got {n}"):
        evaluation_of({"prompts": source(20), "held_out_prompts": source(9, "other")}, n)


def test_too_few_prompts_for_a_fifth(source):
    with pytest.raises(OptionError, match="`answers` must be from 1 to 3 with .*, got 0"):
        evaluation_of({"prompts": source(4)})


def test_prompts_without_an_answer_are_named(source):
    with pytest.raises(OptionError, match="but 4 of .* have none, the first 'prompts-16'"):
        evaluation_of({"prompts": source(20, answer="")}, 4)


def test_too_few_bundled_scenes_for_every_group():
    with pytest.raises(OptionError, match="`answers` must be at least 8 .*, got 7"):
        evaluation_of({}, 7)
