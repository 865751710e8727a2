"""What a user gets wrong is one line on stderr and exit code 2, with no traceback and no record begun."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from transformers import LlamaConfig

from probes import accuracy, angles, sampling, support, vds
from records import read_record
from tests import models
from tests.killed import Killed

ROOT = Path(__file__).resolve().parents[2]


def complaint(main, argv, capsys):
    assert main([str(arg) for arg in argv]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1
    assert shown.out == ""
    return shown.err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "must hold at least one prompt, but rows.jsonl is empty"),
        ('{"problem": "a", "images": ["none.png"]}', "rows.jsonl, row 0 has an unreadable image"),
        ('{"problem": "a"}', "must hold a prompt with a picture, got 1 without"),
        ('{"problem": "<|image_pad|>"}', "row 0: the text keeps '<|image_pad|>', which stands for a picture"),
    ],
)
@pytest.mark.parametrize("probe", [angles, vds])
def test_prompts(here, flags, capsys, rows, message, probe):
    (here / "rows.jsonl").write_text(rows)
    assert message in complaint(probe.main, [*flags, "--prompts", "rows.jsonl"], capsys)
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--limit", "1", "--text-view", "other"), "`text_view` other needs a second prompt with a picture"),
        (("--max-response", "512"), "`max_response` 512 leaves none of the 8 prompts within the models' context"),
        (("--device", "nowhere"), "`device` 'nowhere' cannot be used"),
        (("--teacher", "nobody/nothing"), "nobody/nothing is neither a checkpoint folder nor on the hub"),
        (("--out", "taken"), "`taken` holds a stranger but no record"),
    ],
)
def test_flags(here, flags, capsys, argv, message):
    (here / "taken").mkdir()
    (here / "taken" / "a stranger").touch()
    assert message in complaint(angles.main, [*flags, *argv], capsys)
    assert not (here / "runs").exists()


@pytest.mark.parametrize("probe", [vds, support])
def test_more_bins_than_tokens(here, flags, capsys, probe):
    """Known once responses are there: the lines of progress come first."""
    assert probe.main([*flags, "--limit", "2", "--bins", "1000"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: `bins` must be at most ") and "got 1000; lower --bins" in last


def test_tokens_that_do_not_depend_on_the_picture_share_a_bin():
    """As under a teacher that does not see: nothing may be drawn of bins that do not differ."""
    tokens = pd.DataFrame({"position": range(20), "has_image": [True] * 15 + [False] * 5, "vds_nats": 0.0})
    assert sampling.binned(tokens, 10)["bin"].tolist() == [0] * 15 + [-1] * 5


def test_checkpoints(here, checkpoints, capsys):
    LlamaConfig(vocab_size=8, hidden_size=8, num_attention_heads=1).save_pretrained(here / "llama")
    other = models.copy_of(checkpoints / "student", here / "other")
    path = other / "tokenizer.json"
    path.write_text(path.read_text().replace('"colour":', '"color":'))
    student, teacher = checkpoints / "student", checkpoints / "teacher"
    assert "but llama is text-only" in complaint(angles.main, ["llama", "--teacher", teacher], capsys)
    assert "but llama is text-only" in complaint(accuracy.main, ["llama"], capsys)
    assert "`vocab` differs at" in complaint(angles.main, [other, "--teacher", teacher], capsys)
    assert "`teacher` must be given" in complaint(vds.main, [student], capsys)


def test_a_complete_record_is_read_back_unless_told(here, flags, capsys, monkeypatch):
    argv = [*flags, "--limit", "4"]
    assert vds.main(argv) == 0
    [folder] = (here / "runs").iterdir()
    assert folder.name.startswith("vds-")
    first, before = capsys.readouterr().out, (folder / "record.json").read_bytes()
    (folder / "vds.png").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(sampling, "generate", None)  # nothing is measured again
        assert vds.main(argv) == 0
        assert capsys.readouterr().out == first
        assert (folder / "vds.png").is_file() and (folder / "record.json").read_bytes() == before
        with pytest.raises(TypeError):
            vds.main([*argv, "--overwrite"])
    assert vds.main([*argv, "--overwrite"]) == 0


def test_a_complete_record_of_other_settings_is_kept_unless_told(here, flags, capsys):
    argv = [*flags, "--limit", "4", "--out", "record"]
    assert vds.main(argv) == 0
    before = {path.name: path.read_bytes() for path in (here / "record").iterdir()}
    capsys.readouterr()
    for main, other in ((vds.main, [*argv, "--seed", "1"]), (accuracy.main, [flags[0], "--out", "record"])):
        said = complaint(main, other, capsys)
        assert "holds a complete record with `" in said and "pass `overwrite`" in said
    assert {path.name: path.read_bytes() for path in (here / "record").iterdir()} == before
    assert vds.main([*argv, "--seed", "1", "--overwrite"]) == 0
    assert read_record(here / "record").header["settings"]["seed"] == 1


def test_an_incomplete_record_of_other_settings_is_refused_by_the_field(here, flags, capsys, monkeypatch):
    def stopped(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(sampling, "score_tokens", stopped)
        vds.main([*flags, "--out", "record"])
    capsys.readouterr()
    assert "`settings.seed` 0, not 1" in complaint(vds.main, [*flags, "--seed", "1", "--out", "record"], capsys)


@pytest.mark.parametrize(
    ("argv", "code", "lines"), [(("nobody/nothing", "--teacher", "x"), 2, 1), (("--bins", "0"), 2, None)]
)
def test_as_a_process(here, argv, code, lines):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "probes.angles", *argv]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert "error: " in done.stderr
    assert lines is None or done.stderr.count("\n") == lines
