"""Every command begins with what it read, and can show the first prompt before any weights load."""

import json

import pytest

from probes import accuracy, angles, compare, vds
from tests import models
from vlm.responses.shown import shown_prompt


@pytest.fixture
def rows(here):
    pictured, bare = models.scenes(10)[0], {"question": "how much?", "gold": [4, "four"]}
    pictured.images[0].load().save(here / "a.png")
    row = {"question": "what <image>?", "image": "a.png", "level": 3}
    (here / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (row, bare)))
    return ("--prompts", "rows.jsonl", "--columns", "answer=gold")


LINES = (
    "prompts: rows.jsonl: problem from question, images from image, answer from gold; not read: level\n"
    "prompts: 2, 1 with pictures, 1 with an answer\n"
)


@pytest.mark.parametrize("main", [vds.main, accuracy.main])
def test_a_command_begins_with_what_it_read(here, rows, flags, capsys, main):
    argv = [*flags, "--max-response", "2", "--bins", "2", *rows]
    if main is accuracy.main:
        argv = [flags[0], "--max-response", "2", *rows]
    assert main(argv) == 0
    assert capsys.readouterr().err.startswith(LINES)
    assert main(argv) == 0, "read back"
    prompts, models = capsys.readouterr().err.split("model", 1)
    assert prompts == LINES and models.count("\n") == 2 and "holds this measurement, so it is read" in models


@pytest.mark.parametrize("main", [angles.main, accuracy.main, compare.main])
def test_the_first_prompt_is_shown_and_nothing_is_loaded(here, rows, flags, capsys, monkeypatch, main):
    monkeypatch.setattr("vlm.checkpoints.checkpoint.AutoModelForImageTextToText", None)
    assert main([flags[0], *rows, "--system-prompt", "be brief", "--show-prompt"]) == 0
    shown = capsys.readouterr()
    assert shown.err == LINES
    about, image, text = shown.out.split("--- ")
    assert about == "prompt 0: task unknown, dependency unknown\nanswer: not stated\n"
    assert image.startswith("image view: 48 x 48 pixels\n") and text.startswith("text view: no picture\n")
    assert "be brief" in image and "<|image_pad|>" in image
    assert "be brief" in text and "what" in text and "<|image_pad|>" not in text
    assert not (here / "runs").exists()


def test_what_has_no_processor_is_one_line(here, rows, capsys):
    assert vds.main(["nobody/nothing", *rows, "--show-prompt"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    assert shown.err.startswith("error: `checkpoint` nobody/nothing is neither a checkpoint folder nor on the hub")


def test_the_other_picture_of_a_text_view_is_that_of_the_next_prompt(checkpoints):
    said = shown_prompt(str(checkpoints / "student"), models.scenes(3), "other")
    assert said.count("48 x 48 pixels") == 2
