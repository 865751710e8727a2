"""Prompts that cannot be read, or are too long, are named or counted before anything is sampled."""

import json

import numpy as np
import pytest
from PIL import Image

from probes import accuracy, compare, vds
from records import read_record
from tests.probes.test_errors import complaint
from vlm.prompts.reading import Reading
from vlm.prompts.sources import load_prompts
from vlm.responses import rollouts
from vlm.responses.fitting import NothingFitsError, fitting


@pytest.fixture
def rows(here):
    """Six prompts: q1's picture is too narrow for the processor, that of q3 is cut off, that of q5 is not there."""
    for name, size in (("a", (48, 48)), ("narrow", (420, 2)), ("b", (48, 48)), ("cut", (48, 48))):
        noise = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3)).astype("uint8")
        Image.fromarray(noise).save(f"{name}.png")
    data = (here / "cut.png").read_bytes()
    (here / "cut.png").write_bytes(data[: len(data) // 2])
    names = ["a", "narrow", "b", "cut", None, "gone"]
    lines = [
        {"id": f"q{n}", "problem": "what colour is the circle?", "answer": "red"}
        | ({"images": [f"{name}.png"]} if name else {})
        for n, name in enumerate(names)
    ]
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return lines


def write(here, lines):
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            1,
            r"rows.jsonl, row 0, the processor refuses the prompt 'q1' (absolute aspect ratio must be smaller than 200",
        ),
        (3, "prompt 'q3', rows.jsonl, row 0 has an unreadable image (image file is truncated"),
        (5, "rows.jsonl, row 0 has an unreadable image (No such file or directory: '"),
    ],
)
@pytest.mark.parametrize("main", [vds.main, accuracy.main])
def test_one_is_named_before_anything_is_sampled(here, rows, flags, capsys, monkeypatch, main, row, message):
    monkeypatch.setattr(rollouts, "_generate_batch", lambda *_: pytest.fail("sampled"))
    write(here, [rows[row], rows[0]])
    own = flags[:1] if main is accuracy.main else flags
    said = complaint(main, [*own, "--prompts", "rows.jsonl"], capsys)
    assert message in said and said.rstrip().endswith("mend it, or add --skip-bad")
    assert not (here / "runs").exists()


def test_they_are_left_out_and_counted(here, rows, flags, capsys):
    argv = [*flags, "--prompts", "rows.jsonl", "--skip-bad", "--out", "record"]
    assert vds.main(argv) == 0
    record = read_record(here / "record")
    assert record.notes["left_out"] == {"longer than the context": 0, "picture that cannot be read": 3}
    assert set(record.tokens["prompt_id"]) == {"q0", "q2", "q4"}
    said = "note: 3 of 6 prompts are left out (picture that cannot be read: 3)"
    assert said in capsys.readouterr().err


def test_answers_leave_them_out_too(here, rows, flags, capsys):
    argv = [flags[0], "--prompts", "rows.jsonl", "--skip-bad", "--max-response", "4", "--out", "answers"]
    assert accuracy.main(argv) == 0
    record = read_record(here / "answers")
    assert set(record.rollouts["prompt_id"]) == {"q0", "q2", "q4"}
    assert record.notes["left_out"]["picture that cannot be read"] == 3


def test_all_bad_is_an_error(here, rows, flags, capsys):
    write(here, [rows[1]])
    said = complaint(vds.main, [*flags, "--prompts", "rows.jsonl", "--skip-bad"], capsys)
    assert "`skip_bad` leaves none of the 1 prompts: no picture can be read" in said


def test_a_text_that_keeps_a_marker_is_named_or_counted(here, rows, flags, capsys):
    write(here, [rows[0], {"problem": "<|image_pad|>"}])
    said = complaint(vds.main, [*flags, "--prompts", "rows.jsonl"], capsys)
    assert "rows.jsonl, row 1: the text keeps '<|image_pad|>'" in said
    assert vds.main([*flags, "--prompts", "rows.jsonl", "--skip-bad", "--out", "record"]) == 0
    assert read_record(here / "record").notes["left_out"]["picture that cannot be read"] == 1


def test_long_prompts_are_left_out_and_counted(here, rows, flags, capsys):
    long = rows[0] | {"id": "long", "problem": "what colour is the circle? " * 9}
    write(here, [rows[0], long, rows[2]])
    assert vds.main([*flags, "--prompts", "rows.jsonl", "--max-prompt", "40", "--out", "record"]) == 0
    assert read_record(here / "record").notes["left_out"]["longer than max_prompt"] == 1
    capsys.readouterr()
    said = complaint(vds.main, [*flags, "--prompts", "rows.jsonl", "--max-prompt", "4"], capsys)
    assert "`max_prompt` 4 leaves none of the 3 prompts" in said


def test_the_limit_counts_pictures(here, rows, pair):
    write(here, [rows[0], rows[4]])
    pictured, bare = load_prompts("rows.jsonl")
    lengths = [
        min(n for n in range(4, 60) if kept(pair, [prompt, bare], n) == [prompt, bare]) for prompt in (pictured, bare)
    ]
    assert lengths[0] - lengths[1] == 4 + 2  # a token for each cell, and two round them


def kept(pair, prompts, limit):
    try:
        return list(fitting(pair.models, prompts, 4, Reading(max_prompt=limit)).prompts)
    except NothingFitsError:
        return []


def test_a_smaller_picture_is_a_shorter_prompt(here, rows, flags):
    """The bundled processor has one size; what its patches show differs."""
    write(here, [rows[0], rows[2]])
    argv = [*flags, "--prompts", "rows.jsonl"]
    assert vds.main([*argv, "--out", "whole"]) == vds.main([*argv, "--max-pixels", "16", "--out", "small"]) == 0
    whole, small = (read_record(here / name) for name in ("whole", "small"))
    assert whole.record["header"]["source"] != small.record["header"]["source"]
    assert small.record["header"]["settings"]["max_pixels"] == 16
    assert not np.allclose(whole.tokens["vds_nats"].head(3), small.tokens["vds_nats"].head(3))


def test_what_the_template_is_handed_is_part_of_the_record(here, rows, flags, capsys):
    write(here, [rows[0], rows[2]])
    argv = [*flags, "--prompts", "rows.jsonl"]
    settings = [[], ["--system-prompt", "what colour"], ["--chat-template-args", '{"add_vision_id": true}']]
    assert vds.main([*argv, *settings[0], "--out", "0"]) == vds.main([*argv, *settings[1], "--out", "1"]) == 0
    plain, told = (read_record(here / name) for name in "01")
    assert plain.record["header"]["source"] != told.record["header"]["source"]
    capsys.readouterr()
    said = complaint(vds.main, [*argv, *settings[2]], capsys)
    assert "`chat_template_args` sets 'add_vision_id', which no chat template here reads: leave it out" in said


def test_both_sides_of_a_comparison_answer_what_both_can_read(here, rows, flags):
    argv = [flags[0], flags[0], *flags[1:], "--prompts", "rows.jsonl", "--skip-bad"]
    assert compare.main([*argv, "--accuracy-prompts", "6", "--out", "record"]) == 0
    record = read_record(here / "record")
    assert set(record.answers["prompt_id"]) == {"q0", "q2", "q4"}


def test_every_source_gives_the_same_pixels(here):
    """A phone's photo, turned by its tag, as a file, in parquet and in a datasets folder."""
    import pandas as pd
    from datasets import Dataset, Features, Sequence, Value
    from datasets import Image as Pictures

    exif = Image.Exif()
    exif[0x0112] = 6
    corners = Image.fromarray(np.arange(6 * 4 * 3, dtype="uint8").reshape(4, 6, 3) * 3)
    corners.save("phone.png", exif=exif)
    data = (here / "phone.png").read_bytes()
    (here / "rows.jsonl").write_text(json.dumps({"problem": "what?", "images": ["phone.png"]}))
    pd.DataFrame([{"problem": "what?", "images": [{"bytes": data, "path": None}]}]).to_parquet("rows.parquet")
    features = Features({"problem": Value("string"), "images": Sequence(Pictures())})
    rows = {"problem": ["what?"], "images": [[{"bytes": data, "path": None}]]}
    Dataset.from_dict(rows, features=features).save_to_disk("folder")
    expected = np.asarray(corners)[::-1].transpose(1, 0, 2)  # the stored rows, a quarter turn clockwise
    for source in ("rows.jsonl", "rows.parquet", "folder"):
        [prompt] = load_prompts(source)
        assert np.array_equal(np.asarray(prompt.images[0].load()), expected)
        assert isinstance(prompt.images[0].source, bytes) or source == "rows.jsonl"
