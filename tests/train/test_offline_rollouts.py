"""Off-policy responses from a file: how they are read, that they are what is trained on, and what is refused."""

import json
from dataclasses import replace
from typing import get_args

import pandas as pd
import pytest

from bundled.prompts import bundled_prompts
from cli.errors import OptionError
from geometry.objective_settings import Name
from records.run_folder import read_run
from tests.train.small import flags as small_flags
from tests.train.small import small
from train.__main__ import main
from train.loop import train
from train.prompts import prompt_source
from train.rollouts import read_offline_rollouts, responses_to


@pytest.fixture
def prompts(tmp_path):
    """Six prompts without pictures, the first two held out."""
    path = tmp_path / "prompts.jsonl"
    rows = [{"id": f"q{n}", "problem": f"add {n} and 1", "answer": str(n + 1)} for n in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def written(tmp_path, rows):
    path = tmp_path / "rollouts.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def flags(checkpoints, prompts, path, **changes):
    settings = {"objective": "off-policy", "prompts": str(prompts), "rollouts": str(path), "held_out": 2, "batch": 2}
    return small(checkpoints, **settings | changes)


def good(n, text="4 and"):
    return {"prompt_id": f"q{n}", "response": text}


EVERY = [good(n) for n in range(2, 6)]


def test_text_is_ended_and_ids_are_taken_as_they_are(checkpoints, prompts, pair, tmp_path):
    rows = [
        good(2),
        good(2, "5"),
        {"prompt_id": "q3", "token_ids": [20, 21, 2]},
        "",
        *[good(n) for n in (3, 4, 4, 5, 5)],
    ]
    config = flags(checkpoints, prompts, written(tmp_path, rows), rollouts_per_prompt=2)
    source = prompt_source(config)
    found = read_offline_rollouts(config, source.pool, pair)
    tokenizer = pair.student.processor.tokenizer
    ids = tokenizer("4 and", add_special_tokens=False)["input_ids"]
    assert found["q2"][0].token_ids == (*ids, tokenizer.eos_token_id) and found["q2"][0].text == "4 and"
    assert found["q3"][0].token_ids == (20, 21, 2) and not found["q3"][0].truncated
    assert [r.rollout_id for r in found["q2"]] == ["q2/0", "q2/1"]
    responses = responses_to(source.pool, found, config, (0, 1))
    assert [r.rollout.rollout_id for r in responses] == [f"q{n}/{i}" for n in range(2, 6) for i in range(2)]
    parts = [responses_to(source.pool, found, config, (rank, 2)) for rank in range(2)]
    assert {r.rollout.rollout_id for part in parts for r in part} == {r.rollout.rollout_id for r in responses}


def test_a_long_response_is_cut(checkpoints, prompts, pair, tmp_path):
    config = flags(checkpoints, prompts, written(tmp_path, EVERY), max_response=2)
    [cut] = read_offline_rollouts(config, prompt_source(config).pool, pair)["q2"]
    assert len(cut.token_ids) == 2 and cut.truncated and cut.text == "4 and"


def test_a_run_is_trained_on_them(checkpoints, prompts, tmp_path, monkeypatch):
    config = flags(checkpoints, prompts, written(tmp_path, EVERY), out=str(tmp_path / "run"), steps=2, evaluate_every=0)
    seen = []
    collected = __import__("train.batch", fromlist=["collect"]).collect

    def spy(*given):
        seen.append(collected(*given))
        return seen[-1]

    monkeypatch.setattr("train.batch.collect", spy)
    train(config)
    assert {r.rollout.prompt_id for made in seen for r in made.responses} == {f"q{n}" for n in range(2, 6)}
    assert {r.rollout.text for made in seen for r in made.responses} == {"4 and"}


@pytest.mark.parametrize("objective", get_args(Name))
def test_every_distillation_objective_trains_on_them_and_says_that_it_is_off_policy(
    checkpoints, prompts, tmp_path, capsys, objective
):
    """Rows of a parquet file that quote their prompt, two to each; the first of them is what a step trains on."""
    path = tmp_path / "rollouts.parquet"
    rows = [{"prompt": f"add {n} and 1", "response_ids": ids, "tool": "x"} for n in range(6) for ids in ([20, 2], [21])]
    pd.DataFrame(rows).to_parquet(path)
    out = tmp_path / "run"
    argv = small_flags(
        flags(
            checkpoints, prompts, path, objective=objective, out=str(out), steps=1, evaluate_every=0, geometry_every=0
        )
    )
    assert main(argv) == 0
    said = capsys.readouterr().err
    assert f"'{objective}' is trained off-policy; the first 8 responses are " in said
    assert "4 rows are left out, whose prompts are not used" in said and "columns that are not read: tool" in said
    config = json.loads((out / "config.json").read_text())
    assert config["weights"]["rollouts"].startswith("rollouts.parquet ")
    assert read_run(out).steps["response_tokens"].tolist() == [2.0]


def test_a_run_does_not_go_on_with_another_file_of_the_same_name(checkpoints, prompts, tmp_path, capsys):
    path = written(tmp_path, EVERY)
    config = flags(checkpoints, prompts, path, out=str(tmp_path / "run"), steps=1, evaluate_every=0, geometry_every=0)
    train(config)
    written(tmp_path, [good(n, "5") for n in range(2, 6)])
    assert main([*small_flags(config), "--resume"]) == 2
    assert "weights.rollouts" in capsys.readouterr().err
    assert main([*small_flags(replace(config, steps=2)), "--resume", "--override"]) == 0


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (["{"], "line 1 must be a JSON object with `prompt_id`"),
        (["[1]"], "line 1 must be a JSON object"),
        ([*EVERY, {"response": "4"}], "line 5 must be a JSON object with `prompt_id`"),
        ([{"prompt_id": "q2"}], "line 1, prompt 'q2', must have a text `response`, or `response_ids`"),
        ([{"prompt_id": "q2", "token_ids": []}], "prompt 'q2', must have"),
        ([{"prompt_id": "q2", "token_ids": [10**6]}], "prompt 'q2', must have .* below"),
        ([{"prompt_id": "q2", "token_ids": [True]}], "prompt 'q2', must have"),
        ([good(2), good(3, "<|image_pad|> 4")], r"line 2, prompt 'q3', holds '<\|image_pad\|>'"),
        ([good(2), good(3)], "1 responses to each prompt, but has fewer for 2 of 4, the first 'q4'"),
    ],
)
def test_what_cannot_be_trained_on_is_named(checkpoints, prompts, pair, tmp_path, rows, named):
    config = flags(checkpoints, prompts, written(tmp_path, rows))
    with pytest.raises(OptionError, match=named) as caught:
        read_offline_rollouts(config, prompt_source(config).pool, pair)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_prompts_that_change_are_refused(checkpoints, prompts, pair, tmp_path):
    config = flags(checkpoints, prompts, tmp_path / "none.jsonl")
    with pytest.raises(OptionError, match="`rollouts` names the file"):
        read_offline_rollouts(config, bundled_prompts(2, seed=0), pair)
    with pytest.raises(OptionError, match="`rollouts` needs `prompts` that stay the same"):
        read_offline_rollouts(config, bundled_prompts, pair)
    folder = tmp_path / "run"
    with pytest.raises(OptionError):
        train(flags(checkpoints, prompts, tmp_path / "none.jsonl", out=str(folder)))
    assert not folder.exists()
