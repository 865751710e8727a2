"""A command whose responses are nearly all truncated: stored, refused with one line, continued if that is allowed."""

import subprocess
import sys

import pytest

from probes import accuracy, angles, sampling, vds
from records import read_record
from records.shards import SHARDS
from vlm.responses import truncation

COMMANDS = {"vds": (vds, ()), "angles": (angles, ("--per-bin", "2"))}


@pytest.fixture(autouse=True)
def _limit(monkeypatch):
    monkeypatch.setattr(truncation, "REFUSED", 0.8)


@pytest.mark.parametrize("name", COMMANDS)
def test_responses_are_stored_before_they_are_refused_and_the_record_continues(here, flags, capsys, monkeypatch, name):
    probe, more = COMMANDS[name]
    argv = [*flags, "--max-response", "2", *more, "--out", "record"]
    assert probe.main(argv) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("error: ")
    assert "are truncated at `max_response` 2, above 80 %" in said
    assert [path.name for path in (here / "record" / SHARDS).glob("*.parquet")] == ["rollouts-000000.parquet"]
    monkeypatch.setattr(sampling, "generate", None)  # the responses are read back
    assert probe.main([*argv, "--allow-truncated"]) == 0
    assert "warning: " in capsys.readouterr().err
    record = read_record(here / "record", "rollouts")
    assert record.header["settings"]["max_response"] == 2 and "allow_truncated" not in record.header["settings"]
    assert probe.main(argv) == 0  # complete: the same record, with or without the flag


def test_accuracy(here, flags, capsys, monkeypatch):
    argv = [flags[0], "--limit", "8", "--max-response", "2", "--batch", "3", "--out", "record"]
    assert accuracy.main(argv) == 2
    assert "are truncated at `max_response` 2, above 80 %" in capsys.readouterr().err
    assert len(list((here / "record" / SHARDS).glob("*.parquet"))) == 3
    monkeypatch.setattr(sampling, "generate", None)
    assert accuracy.main([*argv, "--allow-truncated"]) == 0
    assert read_record(here / "record").table("rollouts")["truncated"].mean() > 0.8


def test_stored_responses_without_an_end(here, flags, capsys):
    (here / "said.jsonl").write_text(
        "".join(f'{{"prompt_id": "{name}", "response_ids": [20, 21]}}\n' for name in _prompt_ids(flags))
    )
    argv = [*flags, "--rollouts", "said.jsonl", "--out", "record"]
    assert vds.main(argv) == 2
    assert "of `rollouts` have no end token, above 80 %" in capsys.readouterr().err
    assert not (here / "record").exists()
    assert vds.main([*argv, "--allow-truncated"]) == 0
    (here / "text.jsonl").write_text(f'{{"prompt_id": "{_prompt_ids(flags)[0]}", "response": "4"}}\n')
    assert vds.main([*flags, "--rollouts", "text.jsonl", "--bins", "2", "--out", "other"]) == 0  # text is ended


def test_as_a_process(here, flags):
    command = [sys.executable, "-m", "probes.vds", *flags, "--max-response", "1", "--out", "record"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert "truncated at `max_response` 1, above 80 %" in ended.stderr


def _prompt_ids(flags):
    from tests import models

    return [prompt.prompt_id for prompt in models.scenes(8)]
