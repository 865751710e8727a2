"""Whole runs: what they write, how they continue, and how they stop."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from operator import attrgetter

import pytest
import torch
from safetensors.torch import load_file

from records import ANGLES, OBJECTIVES, RecordError
from records.journal import JOURNAL, read_journal
from records.journal_lines import LOSSES, PHASES, EvaluationLine
from stats import N_BINS
from tests.train.small import flags, small
from train import loop
from train.__main__ import main
from train.evaluation import accuracy_words, headline
from train.loop import train
from vlm.checkpoints.pair import load_pair
from vlm.views.encoding import memory_of

RUN = """
import sys, torch
import train.loop
from tests.train.test_loop import best_at_2
from train.__main__ import main
torch.use_deterministic_algorithms(True)
train.loop.headline = best_at_2
sys.exit(main())
"""


def best_at_2(line):
    """A student that gets better and then worse: random ones are all equally bad."""
    return -abs(line.step - 2)


@pytest.fixture(scope="module", autouse=True)
def _best_at_2():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.loop.headline", best_at_2)
        yield


class Killed(BaseException):
    """What no handler of ours catches."""


def train_in_two(config, step, monkeypatch):
    """Train, killed before a step, and resume; return the folder of the run."""
    steps = []

    def killing(run, *rest):
        if run.progress.step == step:
            raise Killed
        steps.append(run.progress.step)
        return train_loop_advance(run, *rest)

    train_loop_advance = sys.modules["train.loop"].advance
    with monkeypatch.context() as patch:
        patch.setattr("train.loop.advance", killing)
        with pytest.raises(Killed):
            train(config)
    assert steps == list(range(step))
    return train(replace(config, resume=True))


@pytest.fixture(scope="module")
def whole(checkpoints, tmp_path_factory):
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(small(checkpoints, out=str(folder)))
    return folder


def lines(folder):
    """The journal without times."""
    found = [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in found]


def resolve(place):
    """Return what a dotted name stands for."""
    parts = place.split(".")
    module = next(m for cut in range(len(parts), 0, -1) if (m := sys.modules.get(".".join(parts[:cut]))))
    return attrgetter(place.removeprefix(module.__name__ + "."))(module)


def assert_same(folder, whole):
    """Bit by bit: journal, fixed rollouts, kept checkpoints, weights and optimizer."""
    assert lines(folder) == lines(whole)
    assert (folder / "held_out.json").read_bytes() == (whole / "held_out.json").read_bytes()
    for name in ("last", "best"):
        assert os.readlink(folder / name) == os.readlink(whole / name)
        ours, theirs = (load_file(run / name / "model.safetensors") for run in (folder, whole))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs) and ours.keys() == theirs.keys()
    ours, theirs = (torch.load(run / "last" / "training.pt", weights_only=True) for run in (folder, whole))
    for number, state in theirs["optimizer"]["state"].items():
        assert all(torch.equal(ours["optimizer"]["state"][number][key], value) for key, value in state.items())
    assert {path.name for path in folder.rglob("*.part")} == set()
    kept, others = ({path.name for path in (run / "checkpoints").iterdir()} for run in (folder, whole))
    assert kept == others


def test_the_journal_holds_each_step_evaluation_and_measurement(whole):
    found = read_journal(whole)
    assert [line.step for line in found.steps] == [0, 1, 2, 3]
    assert [line.step for line in found.evaluations] == [0, 2, 4]
    assert [line.step for line in found.geometry] == [0, 3]
    for line in found.steps:
        assert set(line.losses) == set(line.losses_by_fixed_bin) == set(line.losses_by_step_bin) == set(LOSSES)
        assert {len(values) for values in line.losses_by_step_bin.values()} == {N_BINS}
        assert len(line.edges_nats) == N_BINS - 1 and set(line.seconds) == set(PHASES)
        assert 1 <= line.response_tokens <= 5 and line.gradient_norm > 0 and 0 < line.eta < 1
    assert found.steps[0].losses_by_fixed_bin == found.steps[0].losses_by_step_bin
    assert found.steps[1].losses_by_fixed_bin != found.steps[1].losses_by_step_bin
    assert set(found.geometry[0].norms) == {"all", "language_model"}
    assert set(found.geometry[0].norms["all"]) == set(OBJECTIVES)
    assert set(found.geometry[0].angles_deg["all"]) == set(ANGLES)
    assert set(found.evaluations[0].accuracy) == {"high", "low"} and found.evaluations[0].answers["high"] == 3
    assert found.geometry[0].group_norms.keys() == found.geometry[0].group_angles_deg.keys() > {"merger", "layer_00"}
    assert found.geometry[0].group_norms["merger"]["language"] == 0.0
    assert all(0.0 <= line.reward <= 1.0 and 0.0 < line.banned_mass < 1.0 for line in found.steps)


def test_the_first_student_s_own_rollouts_are_the_fixed_ones(whole):
    first, *later = read_journal(whole).evaluations
    assert first.own_losses == pytest.approx(first.losses, rel=1e-6)
    assert first.own_losses_by_bin["visual"] == pytest.approx(first.losses_by_bin["visual"], rel=1e-6)
    assert all(line.own_losses != line.losses for line in later)


def test_bins_add_up_to_the_whole(whole):
    """The visual loss is over the same tokens as the bins."""
    for line in read_journal(whole).steps:
        pairs = zip(line.losses_by_fixed_bin["visual"], line.tokens_by_fixed_bin, strict=True)
        total = sum(mean * n for mean, n in pairs if mean is not None)
        assert total / sum(line.tokens_by_fixed_bin) == pytest.approx(line.losses["visual"], rel=1e-6)


def test_the_last_and_the_best_checkpoint_are_kept(whole):
    assert os.readlink(whole / "last") == "checkpoints/step-000004"
    assert os.readlink(whole / "best") == "checkpoints/step-000002"
    assert {path.name for path in (whole / "checkpoints").iterdir()} == {"step-000002", "step-000004"}


def test_the_best_is_that_on_prompts_that_need_the_picture():
    def line(accuracy, answers):
        return EvaluationLine(0, {}, {}, {}, {}, 1.0, accuracy=accuracy, answers=answers, seconds=1.0)

    groups = {"low": 1.0, "text": 0.5}
    assert headline(line(groups | {"high": 0.2}, {"low": 3, "text": 1, "high": 9})) == 0.2
    assert headline(line(groups, {"low": 3, "text": 1})) == 0.875


def test_what_is_said_of_an_evaluation():
    line = EvaluationLine(0, {}, {}, {}, {}, 1.0, {"low": 0.5}, {"low": 4}, seconds=1.0, unboxed=1, unanswered=2)
    assert accuracy_words(line) == "held-out accuracy low 50.0 % (1 of 4 without a box, 2 prompts state no answer)"
    assert accuracy_words(replace(line, unboxed=0, unanswered=0)) == "held-out accuracy low 50.0 %"
    silent = replace(line, accuracy={}, answers={})
    assert headline(silent) is None
    assert accuracy_words(silent) == (
        "none of the 2 held-out prompts states an answer: no accuracy, and no best checkpoint"
    )


def test_without_an_answer_there_is_no_accuracy_and_no_best(checkpoints, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("train.loop.headline", headline)
    rows = [{"problem": f"how much is {n} plus 1?", "answer": "1" if n > 1 else None} for n in range(5)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = {"prompts": str(tmp_path / "rows.jsonl"), "held_out": 2, "batch": 3, "micro_batch": 3, "steps": 1}
    folder = train(small(checkpoints, out=str(tmp_path / "run"), objective="standard", gamma=2.0, **changes))
    shown = capsys.readouterr()
    assert [line for line in shown.err.splitlines() if line.startswith("prompts: ")] == [
        f"prompts: {changes['prompts']}: problem from problem, answer from answer",
        "prompts: 5, 0 with pictures, 3 with an answer",
    ]
    assert "none of the 2 held-out prompts states an answer" in shown.out
    for line in read_journal(folder).evaluations:
        assert (line.accuracy, line.answers, line.unboxed, line.unanswered) == ({}, {}, 0, 2)
    assert (folder / "last").exists() and not (folder / "best").exists()


def test_the_first_prompt_is_shown_in_both_views_before_weights_load(checkpoints, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("vlm.checkpoints.checkpoint.AutoModelForImageTextToText", None)
    argv = flags(small(checkpoints, out=str(tmp_path / "run"), show_prompt=True, system_prompt="be brief"))
    assert main(argv) == 0
    shown = capsys.readouterr()
    image, text = shown.out.split("--- image view: ")[1].split("--- text view: ")
    assert image.startswith("48 x 48 pixels\n") and text.startswith("no picture\n")
    assert "be brief" in image and "be brief" in text
    assert shown.err.startswith("prompts: bundled: drawn with seed 0\nprompts: 64, ")
    assert not (tmp_path / "run").exists()


def test_checkpoints_are_read_as_any_pair(whole, checkpoints):
    for name in ("last", "best"):
        pair = load_pair(str(whole / name))
        assert pair.student.name == f"{whole.name}/{name}"  # of two runs compared, the run and not the step
        assert (
            pair.teacher.fingerprint
            == load_pair(*(str(checkpoints / s) for s in ("student", "teacher"))).teacher.fingerprint
        )
    config = json.loads((whole / "config.json").read_text())
    assert config["settings"]["gamma"] == 2.0 and set(config["weights"]) == {"student", "teacher"}


POINTS = [
    ("records.journal.os.fsync", 4),
    ("train.loop.JournalWriter.append", 3),
    ("train.loop.update", 2),
    ("train.checkpoint.torch.save", 1),
    ("train.checkpoint.torch.save", 2),
    ("train.checkpoint._write_pair", 2),
    ("train.checkpoint._link", 1),
    ("train.checkpoint._link", 2),
    ("train.checkpoint._link", 3),
    ("train.checkpoint._link", 4),
    ("train.loop.checkpoint.keep_as_best", 1),
    ("train.loop.checkpoint.prune", 2),
    ("train.loop.evaluation_line", 1),
    ("train.loop.evaluation_line", 3),
    ("train.run._fixed_rollouts", 1),
    ("train.run.write_json", 1),
    ("train.folder.write_json", 1),
]


@pytest.mark.parametrize(("place", "call"), POINTS)
def test_a_run_stopped_anywhere_continues_bit_by_bit(checkpoints, whole, tmp_path, monkeypatch, place, call):
    config = small(checkpoints, out=str(tmp_path / "run"))
    calls, real = [], resolve(place)

    def stop(*args, **kwargs):
        calls.append(place)
        if len(calls) == call:
            raise Killed
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(place, stop)
        with pytest.raises(Killed):
            train(config)
    train(replace(config, resume=True))
    assert_same(tmp_path / "run", whole)


def test_a_killed_process_is_continued_bit_by_bit(checkpoints, whole, tmp_path):
    config = small(checkpoints, out=str(tmp_path / "run"))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    process = subprocess.Popen([sys.executable, "-c", RUN, *flags(config)], env=environment, stderr=subprocess.DEVNULL)
    journal = tmp_path / "run" / JOURNAL
    while process.poll() is None and (not journal.is_file() or journal.read_bytes().count(b"\n") < 4):
        time.sleep(0.01)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    with journal.open("a") as file:
        file.write('{"version": 1, "kind": "st')
    train(replace(config, resume=True))
    assert_same(tmp_path / "run", whole)


def test_a_finished_run_resumed_is_as_it_was(checkpoints, whole):
    before = (whole / JOURNAL).read_text().splitlines()[:-1]
    train(small(checkpoints, out=str(whole), resume=True))
    assert (whole / JOURNAL).read_text().splitlines()[:-1] == before


def test_a_run_is_neither_begun_twice_nor_continued_with_other_flags(checkpoints, whole, capsys):
    given = flags(small(checkpoints, out=str(whole)))
    for argv, named in (
        ([], "pass `--resume`"),
        (["--resume", "--gamma", "1"], "`settings.gamma` 2.0, not 1.0: pass `--override`"),
        (["--resume", "--teacher", str(checkpoints / "student")], "settings.teacher"),
    ):
        assert main([*given, *argv]) == 2
        [line] = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error")]
        assert named in line


def test_overridden_flags_hold_from_where_it_continues(checkpoints, tmp_path):
    config = small(checkpoints, out=str(tmp_path / "run"), steps=2, evaluate_every=0, geometry_every=0)
    train(config)
    before = lines(tmp_path / "run")
    train(replace(config, steps=3, lr=1e-5, resume=True, override=True))
    after = lines(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["steps"] == 3
    assert after[:2] == before and len(after) == 3
    with pytest.raises(RecordError, match="rollouts of other prompts"):
        train(replace(config, held_out=5, resume=True, override=True))
    state = torch.load(tmp_path / "run" / "last" / "training.pt", weights_only=True)
    assert state["optimizer"]["param_groups"][0]["lr"] == 1e-5


def test_weights_that_a_step_has_destroyed_stop_the_run(checkpoints, tmp_path, monkeypatch, capsys):
    """The sampler refuses their logits; before the first step that would be a user's mistake, code 2."""

    def destroy(learner, gradient):
        with torch.no_grad():
            learner.parameters[0].fill_(torch.nan)

    monkeypatch.setattr("train.step._apply", destroy)
    given = small(checkpoints, out=str(tmp_path / "run"), steps=9, evaluate_every=0, geometry_every=0)
    assert main(flags(given)) == 1
    [line] = [text for text in capsys.readouterr().err.splitlines() if text.startswith("stopped")]
    assert "step 1: `checkpoint` " in line and "/student, in float32, gives logits that are not finite (nan)" in line
    assert line.endswith("or train with a smaller `lr`")
    assert len(read_journal(tmp_path / "run").steps) == 1


def test_three_steps_without_a_finite_loss_stop_the_run(checkpoints, tmp_path, monkeypatch, capsys):
    real, calls = resolve("train.step._norm"), []

    def broken(gradient):
        calls.append(gradient)
        return real(gradient) if len(calls) == 1 else float("nan")

    monkeypatch.setattr("train.step._norm", broken)
    given = small(checkpoints, out=str(tmp_path / "run"), steps=9, evaluate_every=0, geometry_every=0, eta="none")
    assert main(flags(given)) == 1
    captured = capsys.readouterr()
    assert captured.out.count("not finite") == 3
    [line] = [text for text in captured.err.splitlines() if text.startswith("stopped")]
    assert "3 steps in a row, the last 3" in line
    found = read_journal(tmp_path / "run")
    assert [line.skipped for line in found.steps] == [False, True, True, True]
    assert found.steps[3].gradient_norm is None
    saved = json.loads((tmp_path / "run" / "not-finite-000003-0.json").read_text())
    assert saved["step"] == 3 and len(saved["rollouts"]) == 6


def test_a_frozen_vision_tower_stays_as_it_is(checkpoints, tmp_path):
    train(small(checkpoints, out=str(tmp_path / "run"), freeze_vision=True, steps=1, objective="vgs"))
    before, after = (load_file(f / "model.safetensors") for f in (checkpoints / "student", tmp_path / "run" / "last"))
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved and not any("visual" in key for key in moved)
    assert set(read_journal(tmp_path / "run").geometry[0].norms) == {"all", "language_model"}


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "standard"},
        {"objective": "off-policy"},
        {"objective": "adaptive", "average": "token"},
        {"objective": "language-steering", "vp": "printed", "eta": 0.5},
        {"objective": "vgs", "prior": "attached", "text_view": "other"},
        {"objective": "vgs-lp", "dtype": "bfloat16", "rollouts_per_prompt": 2},
        {"objective": "adaptive", "support": "topk:4", "quantile_scope": "micro-batch"},
    ],
)
def test_every_objective_runs(checkpoints, tmp_path, changes):
    train(small(checkpoints, out=str(tmp_path / "run"), steps=1, evaluate_every=0, geometry_every=0, **changes))
    [line] = read_journal(tmp_path / "run").steps
    assert not line.skipped and line.gradient_norm > 0


def test_prompts_that_are_drawn_leave_nothing_behind(checkpoints, tmp_path, monkeypatch):
    """Between steps the memory of a run is that of its held-out prompts, however many steps it takes."""
    sizes, real = [], loop.advance

    def measured(run, *rest):
        sizes.append(memory_of(run.learner.pair.student.processor).kept.size)
        real(run, *rest)

    monkeypatch.setattr(loop, "advance", measured)
    train(small(checkpoints, steps=3, evaluate_every=0, geometry_every=0, out=str(tmp_path / "run")))
    assert sizes[0] == sizes[1] == sizes[2] > 0
