"""`vgs plan` and `--dry-run`: what they print, what they refuse, and that they read no weights and write nothing."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cli.errors import OptionError
from probes import Analyzer, accuracy, vds
from probes import plan as command
from probes.planning import Asked, plan_of
from probes.seen_responses import Seen
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
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("plan: student ") and "responses of up to 8 tokens" in first
    assert last.endswith("it fits") and "the longest of 4, read" in done.stdout
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


def test_a_few_prompts_that_are_run_say_how_long_responses_are(checkpoints, capsys):
    options = {"teacher": str(checkpoints / "teacher"), "limit": 4, "max_response": 8, "device": "cpu"}
    plan = command.plan(str(checkpoints / "student"), try_=2, **options)
    assert plan.truncated is not None and 0 <= plan.truncated <= 1
    assert " of 2 responses " in capsys.readouterr().err  # not those of all four prompts
    assert any("times from 2 prompts that were run" in note for note in plan.notes)


def test_an_unknown_option_is_named(outlines):
    with pytest.raises(OptionError, match="no_such"):
        command.plan(str(outlines / "student"), no_such=1)


@pytest.mark.parametrize("words", [[], ["--prompt-tokens", "40", "--visual-tokens", "16"]])
def test_responses_above_the_context_are_refused_before_any_mask_of_theirs_is_made(outlines, capsys, words):
    assert command.main([*pair(outlines), "--limit", "4", "--max-response", "999999999", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "must leave room for a prompt in the context of both models: it leaves 0 tokens" in line
    train = ["--student", str(outlines / "student"), "--teacher", str(outlines / "teacher"), "--dry-run"]
    assert train_command.main([*train, "--max-response", "999999999"]) == 2


def test_a_plan_leaves_out_the_prompts_that_its_command_leaves_out(outlines, capsys, tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"problem": " ".join(["red"] * n)}) + "\n" for n in (2, 3, 40)))
    words = ["--prompts", str(file), "--max-response", "8"]
    for more, said in (
        ([], "the longest of 3, read"),
        (["--max-prompt", "20"], "the longest of 2, read; 1 without room"),
    ):
        assert command.main([*pair(outlines), *words, *more]) == 0
        assert said in capsys.readouterr().out


def test_of_several_processes_one_prints_the_plan(outlines, capsys, monkeypatch):
    said = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert command.main([*pair(outlines), "--limit", "4", "--max-response", "8"]) == 0
        said.append(capsys.readouterr().out)
    assert "it fits" in said[0] and not said[1]


@pytest.mark.parametrize(
    ("module", "words", "named"),
    [
        ("angles", ["--unit", "corpus-bin", "--precision-check", "2"], "`precision_check`"),
        ("compare", [], "`checkpoints` must be two"),
        ("sensitivity", ["--attention", "flash_attention_2"], "`attention` must be"),
        ("diagnose", ["--attention", "flash_attention_2"], "`attention` must be"),
        ("norms", ["nowhere"], "nowhere"),
        ("norms", ["--metric", "adam"], "training.pt"),
        ("vds", ["--max-response", "100000"], "`max_response` must leave room"),
    ],
)
def test_a_dry_run_refuses_what_needs_no_weights_to_be_refused(outlines, capsys, module, words, named):
    command_of = importlib.import_module(f"probes.{module}")
    student, *others = pair(outlines)
    more = [word for word in words if word == "nowhere"]
    flags = [word for word in words if word != "nowhere"]
    assert command_of.main([student, *more, *others, "--limit", "4", *flags, "--dry-run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and named in line


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--free-gb", "0"], "`--free-gb` must be a number above 0"),
        (["--prompt-tokens", "0"], "`--prompt-tokens` must be a whole number above 0"),
        (["--prompt-tokens", "5", "--visual-tokens", "5"], "`prompt_tokens` must hold `visual_tokens`"),
        (["--prompt-tokens", "300", "--max-response", "100000"], "`max_response` must leave room"),
        (["--seen", "nowhere"], "`seen` must be the folder of a record"),
    ],
)
def test_values_that_make_no_sense_are_one_line(outlines, capsys, words, named):
    try:
        code = command.main([*pair(outlines), "--limit", "4", *words])
    except SystemExit as ended:  # a flag's own type
        code = ended.code
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2 and named in line


def test_a_teacher_without_pictures_is_refused(outlines, capsys, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}))
    assert command.main([str(outlines / "student"), "--teacher", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "`teacher`" in line and "text-only" in line


def test_an_earlier_record_says_how_many_responses_are_truncated():
    rows = [{"n_tokens": n, "truncated": n == 12} for n in (4, 8, 10, 12)]
    seen = Seen("a record", [row["n_tokens"] for row in rows], [row["truncated"] for row in rows])
    assert [seen.truncated_at(n) for n in (16, 12, 10, 8, 3)] == [0.25, 0.25, 0.25, 0.5, 1.0]
    assert seen.steps_at(11, batch=2) == (8 + 11) / 2
    assert seen.mean_at(8) == (4 + 3 * 8) / 4


def test_lengths_of_a_record_enter_the_plan(checkpoints, tmp_path):
    analyzer = Analyzer(
        str(checkpoints / "student"),
        teacher=str(checkpoints / "teacher"),
        folder=tmp_path / "record",
        device="cpu",
        limit=4,
        max_response=8,
        allow_truncated=True,
    )
    measured = analyzer.vds()
    n_tokens, cut = measured.rollouts["n_tokens"], measured.rollouts["truncated"]
    options = {"teacher": str(checkpoints / "teacher"), "limit": 4, "device": "cpu"}
    plan = command.plan(str(checkpoints / "student"), seen=str(tmp_path / "record"), max_response=4, **options)
    assert plan.truncated == pytest.approx(((n_tokens > 4) | cut).mean())
    assert plan.work.mean_response == pytest.approx(n_tokens.clip(upper=4).mean())
    assert f"{100 * plan.truncated:.0f} % of those seen" in str(plan)


def test_stored_responses_are_read_in_a_dry_run(outlines, capsys, tmp_path):
    prompt = Analyzer(str(outlines / "student"), limit=4).source_prompts[0]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt_id": prompt.prompt_id, "response_ids": [9] * 6}))
    words = [*pair(outlines), "--limit", "4", "--rollouts", str(path), "--dry-run"]
    assert vds.main([*words, "--max-response", "4"]) == 2
    assert "`max_response` must be at least 6" in capsys.readouterr().err
    assert vds.main([*words, "--max-response", "8", "--allow-truncated"]) == 0
    said = capsys.readouterr().out
    assert "truncated responses at 8 tokens: 100 % of those seen" in said and "rollouts  " not in said


def test_answers_of_a_student_without_a_teacher_are_planned(outlines, capsys):
    student, *_ = pair(outlines)
    assert accuracy.main([student, "--device", "cpu", "--limit", "4", "--max-response", "8", "--dry-run"]) == 0
    assert "teacher" not in capsys.readouterr().out


def test_auto_is_the_checkpoints_own_dtype_on_an_accelerator(outlines, tmp_path, monkeypatch):
    for folder, dtype in (("student", "float16"), ("teacher", "bfloat16")):
        shutil.copytree(outlines / folder, tmp_path / folder)
        path = tmp_path / folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": dtype}))
    monkeypatch.setattr("probes.settings_of_analyzer.device_of", lambda *_: torch.device("cuda"))
    taken = []
    monkeypatch.setattr("probes.planning.draw_up", lambda models, *_: taken.append(models) or 1 / 0)
    analyzer = Analyzer(str(tmp_path / "student"), teacher=str(tmp_path / "teacher"), max_response=8)
    with pytest.raises(ZeroDivisionError):
        plan_of(analyzer, Asked())
    assert taken[0].dtypes == ("float16", "bfloat16")
