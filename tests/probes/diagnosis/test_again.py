"""The command of an undecided diagnosis: the same diagnosis with more prompts or steps, and it runs as printed."""

import math
import shlex
import shutil
from dataclasses import replace

import pytest

from cli.options import parser_for, pick
from probes import Analyzer, diagnose
from probes.diagnosis.again import More, again, again_flags
from probes.diagnosis.trial import Trial
from probes.settings import BinOptions, PromptOptions, RunOptions, WidePairOptions
from records import read_record
from stats import Interval
from tests.probes.diagnosis.cases import BELOW, NEAR, SEES, UNSURE, setting

OPTIONS = diagnose.DiagnosisOptions()
GROUPS = (WidePairOptions, PromptOptions, BinOptions, diagnose.DiagnosisOptions, RunOptions)
RISING = Interval(0.05, 0.25, 0.15)


@pytest.fixture(scope="module")
def bundled():
    return Analyzer("bundled", limit=8, dtype="float32", teacher_dtype="auto")


def asked_again(analyzer, options, *settings):
    trial = Trial(options.trial_steps, options.lr, list(settings)) if settings else None
    return again(analyzer, replace(SEES, trial=trial), (options, RunOptions()), default_steps=16)


def read(line):
    """The values of each group of flags, from a command as a shell reads it."""
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "probes.diagnose"]
    parsed = parser_for("probes.diagnose", diagnose.__doc__, GROUPS).parse_args(words[3:])
    return parsed.checkpoint, [pick(parsed, group) for group in GROUPS]


def test_more_prompts_where_the_interval_holds_zero(bundled):
    """Half width 0.2, 0.05 to the margin, power 80 %: 28 times the 8 prompts decide; ten times are asked for."""
    result = asked_again(bundled, OPTIONS, setting(2.0, 1.0, NEAR, BELOW, UNSURE))
    assert result.more == More(230.0, math.inf)
    assert result.line("bundled") == "python -m probes.diagnose bundled --limit 80"


def test_more_steps_where_they_are_cheaper(bundled):
    """At twice the steps the least rise reaches the margin; seven times the prompts would show it, too."""
    result = asked_again(bundled, OPTIONS, setting(2.0, 1.0, NEAR, BELOW, RISING))
    assert result.more == More(57.0, 32.0) and result.more.note == {"prompts": 57, "steps": 32}
    assert result.more.words == "needs about 57 prompts or 32 steps"
    assert result.line("bundled") == "python -m probes.diagnose bundled --limit 8 --trial-steps 32"


@pytest.mark.parametrize(
    ("stated", "changed"),
    [
        ({"skip_forecast": True}, {}),
        ({"trial_steps": 0}, {}),
        ({"trial_steps": 0, "lr": 1e-6, "per_bin": 4, "skip_geometry": True}, {"lr": 1e-6, "per_bin": 4}),
    ],
)
def test_without_a_trial_it_asks_for_one(bundled, stated, changed):
    result = asked_again(bundled, replace(OPTIONS, **stated))
    assert result.more.words == "needs about 16 steps"
    checkpoint, (_, prompts, _, options, _) = read(result.line("bundled"))
    assert checkpoint == "bundled" and prompts.limit == 8
    assert options == replace(OPTIONS, **changed, skip_geometry="skip_geometry" in stated)


def test_sixteen_bits_are_asked_again_in_thirty_two(checkpoints):
    analyzer = Analyzer(str(checkpoints / "student"), teacher=str(checkpoints / "teacher"), limit=4, dtype="bfloat16")
    _, (pair, *_) = read(asked_again(analyzer, OPTIONS).line("s"))
    assert pair.dtype == "float32"


def test_every_setting_is_carried(checkpoints):
    stated = {"teacher": str(checkpoints / "teacher"), "limit": 4, "seed": 7, "text_view": "blank", "bins": 5}
    analyzer = Analyzer(str(checkpoints / "student"), dtype="float32", teacher_dtype="auto", **stated)
    values = (replace(OPTIONS, lr=1e-5), RunOptions(run_steps=7))
    flags = again_flags(analyzer, values, {"limit": 40})
    assert flags == stated | {"limit": 40, "lr": 1e-5, "run_steps": 7}


def test_there_is_no_command_for_what_is_in_memory(pair):
    student, teacher, processor = pair.student.model, pair.teacher.model, pair.student.processor
    in_memory = Analyzer.from_models(student=student, teacher=teacher, processor=processor, limit=4)
    pair.student.model.requires_grad_(True)
    result = asked_again(in_memory, OPTIONS)
    assert result.flags is None and result.line("in memory") == ""


def test_an_undecided_diagnosis_says_what_it_needs_and_runs_again_as_printed(tmp_path, capsys):
    """Exit code 0 both times; no file to train with; the second one has tried steps."""
    out = tmp_path / "record"
    argv = ["bundled", "--limit", "8", "--skip-geometry", "--skip-accuracy", "--trial-steps", "0", "--shown", "1"]
    assert diagnose.main([*argv, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    record = read_record(out, "recommendation", "findings")
    choice = dict(zip(record.recommendation["setting"], record.recommendation["choice"], strict=True))
    assert choice["verdict"] == "undecided" and choice["objective"] == "standard" and choice["gamma"] == "-"
    assert "verdict: undecided" in said and "needs about 16 steps" in said
    assert record.record["notes"]["needs"] == {"steps": 16} and not (out / "train.yaml").exists()
    page = (out / "report.html").read_text()
    assert '<section class="verdict open" id="verdict">' in page and "needs about 16 steps" in page
    words = shlex.split(choice["command"])[3:]
    shutil.rmtree(out)
    assert diagnose.main([*words, "--trial-steps", "1", "--out", str(out)]) == 0
    again_read = read_record(out, "trial")
    assert set(again_read.trial["steps"]) == {1}
