"""`vgs plan` and `--dry-run`: what they print, what they refuse, and that they read no weights and write nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.errors import OptionError
from probes import plan as command
from probes import vds
from train import __main__ as train_command

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outlines(checkpoints, tmp_path_factory):
    """The random pair without its weights, and without processors as `bare`."""
    folder = tmp_path_factory.mktemp("outlines")
    for name in ("student", "teacher"):
        without = shutil.ignore_patterns("*.safetensors")
        shutil.copytree(checkpoints / name, folder / name, ignore=without)
        (folder / f"bare-{name}").mkdir()
        shutil.copy(checkpoints / name / "config.json", folder / f"bare-{name}")
    return folder


def pair(outlines, prefix=""):
    return [str(outlines / f"{prefix}student"), "--teacher", str(outlines / f"{prefix}teacher"), "--device", "cpu"]


def test_a_plan_names_phases_peak_and_what_it_rests_on(outlines):
    words = ["--limit", "4", "--max-response", "8"]
    done = subprocess.run(
        [sys.executable, "-m", "probes.plan", *pair(outlines), *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    for phase in ("loading", "rollouts", "scoring", "gradients", "training step"):
        assert phase in done.stdout
    assert "it fits" in done.stdout and "the longest of 4, read" in done.stdout
    assert "truncated responses at 8 tokens: unknown" in done.stdout


def test_configs_alone_are_enough_and_lengths_are_stated(outlines, capsys):
    words = ["--prompt-tokens", "40", "--visual-tokens", "16", "--max-response", "8", "--json"]
    assert command.main([*pair(outlines, "bare-"), *words]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert any("prompts of 40 tokens with the picture and 24 without: as stated" in note for note in plan["notes"])
    assert plan["fits"] and plan["phases"]["scoring"]["bytes"]["weights"] > 0


def test_what_cannot_fit_prints_the_plan_then_one_line(outlines, capsys):
    assert command.main([*pair(outlines), "--limit", "4", "--max-response", "8", "--free-gb", "0.001"]) == 2
    said = capsys.readouterr()
    assert "it does not fit" in said.out
    (line,) = said.err.splitlines()
    assert line.startswith("error: the plan must fit into 0.001 GB on cpu")


def test_a_dry_run_of_a_probe_writes_nothing_and_reads_no_weights(outlines, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert vds.main([*pair(outlines), "--limit", "4", "--max-response", "8", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "scoring" in said and "gradients" not in said and "training step" not in said
    assert not list(tmp_path.iterdir())


def test_a_dry_run_refuses_what_the_command_would(outlines, capsys):
    assert vds.main([*pair(outlines), "--prompts", "nowhere.jsonl", "--max-response", "8", "--dry-run"]) == 2
    assert "nowhere.jsonl" in capsys.readouterr().err


def test_a_dry_run_of_training_writes_nothing(outlines, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--student", str(outlines / "student"), "--teacher", str(outlines / "teacher"), "--device", "cpu"]
    assert train_command.main([*words, "--max-response", "8", "--steps", "3", "--dry-run"]) == 0
    assert "x 3" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_a_few_prompts_that_are_run_say_how_long_responses_are(checkpoints):
    options = {"teacher": str(checkpoints / "teacher"), "limit": 4, "max_response": 4, "device": "cpu"}
    plan = command.plan(str(checkpoints / "student"), try_=2, **options)
    assert plan.truncated is not None and 0 <= plan.truncated <= 1
    assert any("times from 2 prompts that were run" in note for note in plan.notes)


def test_an_unknown_option_is_named(outlines):
    with pytest.raises(OptionError, match="no_such"):
        command.plan(str(outlines / "student"), no_such=1)


@pytest.mark.parametrize("words", [[], ["--prompt-tokens", "40", "--visual-tokens", "16"]])
def test_responses_above_the_context_are_refused_before_any_mask_of_theirs_is_made(outlines, capsys, words):
    assert command.main([*pair(outlines), "--limit", "4", "--max-response", "999999999", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "must leave room for a prompt in the context of both models: it may have 0 tokens" in line
    train = ["--student", str(outlines / "student"), "--teacher", str(outlines / "teacher"), "--dry-run"]
    assert train_command.main([*train, "--max-response", "999999999"]) == 2


def test_a_plan_leaves_out_the_prompts_that_its_command_leaves_out(outlines, capsys, tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"problem": " ".join(["red"] * n)}) + "\n" for n in (2, 3, 40)))
    words = ["--prompts", str(file), "--max-response", "8"]
    for more, said in (([], "the longest of 3, read"), (["--max-prompt", "20"], "the longest of 2, read; 1 more")):
        assert command.main([*pair(outlines), *words, *more]) == 0
        assert said in capsys.readouterr().out


def test_memory_without_end_is_planned_for(outlines, capsys):
    assert command.main([*pair(outlines), "--limit", "4", "--max-response", "8", "--free-gb", "inf", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fits"]


def test_of_several_processes_one_prints_the_plan(outlines, capsys, monkeypatch):
    said = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert command.main([*pair(outlines), "--limit", "4", "--max-response", "8"]) == 0
        said.append(capsys.readouterr().out)
    assert "it fits" in said[0] and not said[1]
