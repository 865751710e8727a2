"""A run trains on prompts that both models can read; what it leaves out is counted, what it cannot read is named."""

import json

import pytest
from PIL import Image

from cli.errors import OptionError, UserError
from tests.train.small import flags, small
from train.__main__ import main
from train.fitting import fitting_source
from train.prompts import prompt_source


@pytest.fixture
def file(tmp_path):
    """Twelve prompts with a picture; that of q5 is too narrow, that of q9 is cut off, q7 is long."""
    for n in range(12):
        Image.effect_noise((420, 2) if n == 5 else (48, 48), 40).convert("RGB").save(tmp_path / f"{n}.png")
    data = (tmp_path / "9.png").read_bytes()
    (tmp_path / "9.png").write_bytes(data[: len(data) // 2])
    rows = [
        {"id": f"q{n}", "problem": "what colour? " * (1 + 20 * (n == 7)), "answer": "red", "images": [f"{n}.png"]}
        for n in range(12)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def fitted(checkpoints, pair, file, **changes):
    config = small(checkpoints, prompts=file, batch=2, held_out=2, **changes)
    return fitting_source(prompt_source(config), pair, config)


def test_what_cannot_be_read_or_is_long_is_left_out_and_counted(checkpoints, pair, file, capsys):
    source = fitted(checkpoints, pair, file, skip_bad=True, max_prompt=40)
    assert [prompt.prompt_id for prompt in source.pool] == ["q2", "q3", "q4", "q6", "q8", "q10", "q11"]
    assert source.left_out == {"longer than max_prompt": 1, "picture that cannot be read": 2}
    said = "note: 3 of 10 prompts are left out (picture that cannot be read: 2, longer than max_prompt: 1)"
    assert said in capsys.readouterr().err.replace("longer than the context: 0, ", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "row 5, the processor refuses the prompt 'q5'"),
        ({"skip_bad": True, "max_prompt": 4}, "`max_prompt` 4 leaves none of the 2 prompts"),
    ],
)
def test_what_cannot_be_trained_on_is_named(checkpoints, pair, file, changes, message):
    with pytest.raises(UserError, match=message):
        fitted(checkpoints, pair, file, **changes)


def test_a_batch_needs_prompts_that_fit(checkpoints, pair, file):
    config = small(checkpoints, prompts=file, batch=9, held_out=2, skip_bad=True)
    with pytest.raises(OptionError, match="`batch` must be at most 8, the prompts that fit, got 9"):
        fitting_source(prompt_source(config), pair, config)


def test_prompts_that_are_drawn_must_fit(checkpoints, pair):
    config = small(checkpoints, max_prompt=18)
    with pytest.raises(OptionError, match="`max_prompt` must admit all prompts that are drawn, got"):
        fitting_source(prompt_source(config), pair, config)


def test_a_run_records_what_it_left_out(checkpoints, file, tmp_path, capsys):
    changes = {"prompts": file, "batch": 2, "held_out": 2, "steps": 1, "geometry_every": 0}
    argv = flags(small(checkpoints, **changes, out=str(tmp_path / "run")))
    assert main([*argv, "--skip-bad"]) == 0
    content = json.loads((tmp_path / "run" / "config.json").read_text())
    assert content["left_out"] == {"picture that cannot be read": 2}
    assert main([*argv, "--skip-bad", "--resume"]) == 0
    assert main(argv) == 2
    assert "the processor refuses the prompt 'q5'" in capsys.readouterr().err
