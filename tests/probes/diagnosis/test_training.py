"""The command that a diagnosis prints: it carries what was measured with, whatever that is, and runs as printed."""

import json
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from probes import Analyzer, diagnose
from probes.diagnosis import verdict_rules
from probes.diagnosis.strength_rules import Recommendation
from probes.diagnosis.training import (
    APART,
    BATCH,
    HELD_OUT,
    command_line,
    config_file,
    left_out,
    training_flags,
)
from probes.settings import PairOptions, PromptOptions
from records import read_record
from train.__main__ import parse
from train.config import Config
from vlm.prompts.reading import Reading

ADVICE = Recommendation("steer", "vgs-lp", 1.25, 1 / 3, "attached", {})
ROOT = Path(__file__).resolve().parents[3]
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))


def as_bash_reads(line):
    """The words of a command line."""
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    return done.stdout.decode().split("\0")[:-1]


def read_back(flags, folder):
    """The run's flags, from the command as a shell reads it and from the file; they must be the same."""
    words = as_bash_reads(command_line(flags))
    assert words[:3] == ["python", "-m", "train"]
    path = folder / "train.yaml"
    path.write_text(config_file(flags), encoding="utf-8")
    assert yaml.safe_load(path.read_text(encoding="utf-8")).keys() == flags.keys()
    typed, read = parse(words[3:]), parse(["--config", str(path)])
    assert typed == read
    return typed


def test_every_setting_is_carried_by_its_name_or_named_as_one_that_is_not():
    """A new field of what is shared is carried without a word here; one that training lacks must be named."""
    trained = {f.name: f.default for f in fields(Config)}
    measured = {f.name: f.default for group in (PairOptions, PromptOptions) for f in fields(group)}
    carried = measured.keys() - APART.keys()
    assert {f.name for f in fields(Reading)} <= carried <= trained.keys()
    equal = {name for name in carried if trained[name] == measured[name]}
    assert carried - equal == {"rollouts_per_prompt"}  # None is one a prompt
    assert set(APART) <= measured.keys()
    assert (Config.held_out, Config.batch) == (HELD_OUT, BATCH)


def test_all_that_was_measured_with_is_carried(tmp_path):
    given = {
        "teacher": "my teachers/the 'one'", "dtype": "bfloat16", "device": "cuda", "split": "test $HOME",
        "rollouts_per_prompt": 3, "max_response": 512, "text_view": "blank", "seed": 7,
        "allow_truncated": True, "teacher_dtype": "nf4", "teacher_device": "cuda:1", "attention": "eager",
        "columns": "problem=question,answer=solution", "image_root": "-odd/ö", "allow_remote": True, "skip_bad": True,
        "max_pixels": 1000, "min_pixels": 10, "max_prompt": 900, "system_prompt": "# Be \"brief\"\nand 'kind' `x` \\ !",
        "chat_template_args": '{"enable_thinking": false}',
    }  # fmt: skip
    assert given.keys() | {"prompts", "device_map"} == {  # which does not go together with teacher_device
        f.name for group in (PairOptions, PromptOptions) for f in fields(group) if f.name not in APART
    } | {"dtype"}
    analyzer = Analyzer("a student", **given)
    flags = training_flags(analyzer, ADVICE, 1e-6)
    config = read_back(flags, tmp_path)
    expected = {"student": "a student", "objective": "vgs-lp", "gamma": 1.25, "lambda_": 1 / 3, "prior": "attached"}
    expected |= given | {"lr": 1e-6}
    assert config == Config(**expected)
    assert left_out(analyzer) == []


@settings(max_examples=15)
@given(system=TEXTS, columns=TEXTS, prompts=TEXTS.filter(lambda text: text.strip() not in ("", "bundled")))
def test_any_text_survives_the_shell_and_the_file(system, columns, prompts, tmp_path_factory):
    analyzer = Analyzer("bundled", system_prompt=system, columns=columns, teacher=prompts)
    config = read_back(training_flags(analyzer, ADVICE, None), tmp_path_factory.mktemp("any"))
    assert (config.system_prompt, config.columns, config.teacher) == (system, columns, prompts)


def test_defaults_are_left_to_their_default(tmp_path):
    flags = training_flags(Analyzer("bundled", limit=5, batch=3), ADVICE, None)
    assert command_line(flags) == (
        "python -m train --student bundled --objective vgs-lp --gamma 1.25 --lambda 0.3333333333333333 --prior attached"
    )
    standard = Recommendation.without_steering("do not steer", "standard", {"verdict": "", "objective": ""})
    assert command_line(training_flags(Analyzer("bundled"), standard, 3e-4)) == (
        "python -m train --student bundled --objective standard --lr 0.0003"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dtype": "float16"}, ["the models were measured in float16, training has float32 and bfloat16"]),
        ({"dtype": "float64"}, ["the models were measured in float64, training has float32 and bfloat16"]),
        ({"dtype": "bfloat16"}, []),
        ({"teacher_dtype": "nf4", "attention": "eager", "teacher_device": "cpu"}, []),
        (
            {"parameters": "mlp"},
            ["measured at the parameters that mlp finds, training changes all; see --freeze-vision"],
        ),
        (
            {"rollouts": "said.jsonl"},
            [
                "measured on responses of said.jsonl, the student is trained on its own; add --rollouts to train on a"
                " file"
            ],
        ),
        ({"limit": 3, "batch": 2, "device": "cuda"}, []),
    ],
)
def test_what_training_has_no_flag_for_is_said(tmp_path, given, said):
    analyzer = Analyzer("bundled", **given)
    assert left_out(analyzer) == said
    read_back(training_flags(analyzer, ADVICE, None), tmp_path)


def test_there_is_no_command_for_what_is_in_memory_or_not_to_be_trained(pair):
    nothing = Recommendation.without_steering("nothing to distil", "none", {"verdict": "", "objective": ""})
    undecided = Recommendation.without_steering("undecided", "standard", {"verdict": "", "objective": ""})
    in_memory = Analyzer.from_models(
        student=pair.student.model, teacher=pair.teacher.model, processor=pair.student.processor
    )
    pair.student.model.requires_grad_(True)
    prompts = [{"problem": "add 1 and 1"}]
    for analyzer, advice in (
        (Analyzer("bundled"), nothing),
        (Analyzer("bundled"), undecided),
        (in_memory, ADVICE),
        (Analyzer("bundled", prompts=prompts), ADVICE),
    ):
        assert training_flags(analyzer, advice, 1e-3) == {} and command_line({}) == "" and config_file({}) == ""


@pytest.mark.parametrize(
    ("n", "fits"), [(2, (1, 1)), (8, (2, 6)), (100, (25, 64)), (263, (65, 64)), (264, None), (300, None), (1, None)]
)
def test_few_prompts_are_shared_out_between_training_and_evaluation(tmp_path, n, fits):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(f'{{"problem": "add {i} and 1", "answer": "1"}}\n' for i in range(n)))
    flags = training_flags(Analyzer("bundled", prompts=str(path), limit=3), ADVICE, None)
    assert (flags["held_out"], flags["batch"]) == fits if fits else "batch" not in flags and "held_out" not in flags


def test_a_row_that_was_not_measured_is_no_obstacle(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"problem": "add 1 and 1"}\n{"problem": "x", "images": ["none.png"]}\n')
    flags = training_flags(Analyzer("bundled", prompts=str(path), limit=1), ADVICE, None)
    assert flags["prompts"] == str(path)


@pytest.fixture(scope="module")
def diagnosed(checkpoints, tmp_path_factory):
    """A diagnosis on a file of prompts in a folder whose name a shell would cut, and its record.

    The facts decide it, by a threshold that this pair falls short of.
    """
    folder = tmp_path_factory.mktemp("it's a folder ü")
    for name, colour in {"a": "red", "b": "blue"}.items():
        Image.new("RGB", (48, 48), colour).save(folder / f"{name}.png")
    rows = [{"problem": f"add {n} and 1", "answer": str(n + 1), "images": [f"{'ab'[n % 2]}.png"]} for n in range(6)]
    (folder / "prompts $1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = [checkpoints / "student", "--teacher", checkpoints / "teacher", "--prompts", folder / "prompts $1.jsonl"]
    argv += ["--max-response", "4", "--text-view", "blank", "--seed", "3", "--rollouts-per-prompt", "2", "--bins", "2"]
    argv += ["--allow-truncated"]  # for the training that follows as a process
    argv += ["--skip-geometry", "--skip-forecast", "--shown", "0", "--lr", "1e-5", "--out", folder / "the record"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(verdict_rules, "LANGUAGE_SHARE", 1.0)
        assert diagnose.main([str(word) for word in argv]) == 0
    return folder, read_record(folder / "the record", "recommendation")


@pytest.mark.parametrize("form", ["command", "file"])
def test_the_command_runs_as_it_is_printed_and_trains_with_what_was_measured(diagnosed, checkpoints, form):
    """In a shell; only the number of steps and where the run stands are appended."""
    folder, record = diagnosed
    [command] = record.recommendation.query("setting == 'command'")["choice"]
    out = folder / f"run of {form}"
    if form == "file":
        command = f"python -m train --config {shlex.quote(str(record.path / 'train.yaml'))}"
    assert command.startswith("python -m train --")
    command = command.replace("python", shlex.quote(sys.executable), 1)
    tail = f"--steps 1 --evaluate-every 0 --geometry-every 0 --out {shlex.quote(str(out))}"
    done = subprocess.run(f"{command} {tail}", shell=True, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    trained = json.loads((out / "config.json").read_text())["settings"]
    measured = record.header["settings"]
    shared = {f.name for f in fields(Config)} & measured.keys() - APART.keys()
    assert {"prompts", "max_response", "text_view", "seed", "rollouts_per_prompt", "teacher", "lr"} <= shared
    unstated = shared - trained.keys()  # named where they are given alone
    assert {name: trained[name] for name in shared - unstated} == {name: measured[name] for name in shared - unstated}
    assert all(measured[name] == Config.__dataclass_fields__[name].default for name in unstated)
    assert trained["student"] == str(checkpoints / "student") and trained["prompts"].endswith("prompts $1.jsonl")
    choice = dict(zip(record.recommendation["setting"], record.recommendation["choice"], strict=True))
    assert trained["objective"] == choice["objective"]


def test_a_record_that_is_read_back_keeps_a_file_that_was_edited(diagnosed, checkpoints):
    folder, record = diagnosed
    path = record.path / "train.yaml"
    whole = path.read_text(encoding="utf-8")
    shared = {name: value for name, value in record.header["settings"].items() if name in
                {f.name for group in (PairOptions, PromptOptions) for f in fields(group)}}  # fmt: skip
    options = {"skip_geometry": True, "skip_forecast": True, "shown": 0, "lr": 1e-5}
    analyzer = Analyzer(str(checkpoints / "student"), bins=2, folder=record.path, **shared)
    path.write_text(whole + "steps: 3\n", encoding="utf-8")
    assert analyzer.diagnose(**options).others == [path] and path.read_text(encoding="utf-8").endswith("steps: 3\n")
    path.unlink()
    assert analyzer.diagnose(**options).others == [path] and path.read_text(encoding="utf-8") == whole
