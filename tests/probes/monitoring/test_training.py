"""A monitor in training runs: in a trainer of transformers, in one's own loop, continued, and without a trace."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainingArguments

from cli.errors import OptionError
from figures.__main__ import main as figures_main
from probes import GeometryMonitor
from probes.compare import main as compare_main
from records import RecordError, read_journal
from records.run_folder import is_run, read_record_or_run
from tests import models
from tests.probes.monitoring.small import monitor_of, stepped

ROOT = Path(__file__).resolve().parents[3]


class OnText(Trainer):
    """Steps on the student's loss on a few ids."""

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        return model(input_ids=inputs["input_ids"], labels=inputs["input_ids"]).loss


def trainer_of(pair, folder, monitor, **settings) -> Trainer:
    """A run of four steps of one row."""
    args = TrainingArguments(
        output_dir=str(folder), max_steps=4, per_device_train_batch_size=1, learning_rate=1e-3, report_to="none",
        save_strategy="steps", save_steps=2, logging_steps=1, use_cpu=True, disable_tqdm=True, seed=0, **settings,
    )  # fmt: skip
    rows = [{"input_ids": torch.tensor([40 + n, 41, 42, 43])} for n in range(8)]
    return OnText(pair.student.model, args, train_dataset=rows, callbacks=[monitor] if monitor else None)


@pytest.fixture(scope="module")
def runs(checkpoints, tmp_path_factory):
    """A run of transformers' trainer with a monitor, and the same run without one."""
    folder, ended = tmp_path_factory.mktemp("runs"), {}
    for name in ("monitored", "alone"):
        pair = models.load(checkpoints)
        logged: list = []
        monitor = None
        if name == "monitored":
            monitor = monitor_of(pair, folder / "monitor", log=lambda *one, to=logged: to.append(one))
        trainer = trainer_of(pair, folder / name, monitor)
        trainer.train()
        ended[name] = {"pair": pair, "trainer": trainer, "logged": logged}
    return ended | {"folder": folder}


def test_a_trainer_measures_at_its_start_and_every_few_steps(runs):
    folder = runs["folder"] / "monitor"
    journal = read_journal(folder)
    assert [line.step for line in journal.evaluations] == [line.step for line in journal.geometry] == [0, 2, 4]
    logged, history = runs["monitored"]["logged"], runs["monitored"]["trainer"].state.log_history
    assert [step for _, step in logged] == [0, 2, 4]
    measured = [one for one in history if "monitor/norm_visual" in one]
    assert [one["step"] for one in measured] == [0, 2, 4]
    names = {"norm_standard", "norm_visual", "norm_language", "eta", "visual_upper_nats", "language_upper_nats"}
    names |= {f"angle_language_visual_{tokens}_minus_null_deg" for tokens in ("all", "upper")}
    assert {f"monitor/{name}" for name in names} <= set(logged[0][0])
    assert logged[0][0]["monitor/eta"] == pytest.approx(journal.geometry[0].eta)
    assert journal.evaluations[0].losses != journal.evaluations[2].losses
    assert (folder / "monitor.png").is_file() and not (folder / "lock").exists()


def test_the_monitored_run_is_the_run_alone_to_the_last_bit(runs):
    weights = [
        torch.cat([p.detach().flatten() for p in runs[name]["pair"].student.model.parameters()])
        for name in ("monitored", "alone")
    ]
    assert torch.equal(*weights)
    histories = [runs[name]["trainer"].state.log_history for name in ("monitored", "alone")]
    losses = [[one["loss"] for one in history if "loss" in one] for history in histories]
    assert losses[0] == losses[1] and len(losses[0]) == 4


def run(*words):
    return subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True)


def test_figures_read_its_folder_in_a_process_of_their_own(runs, tmp_path):
    folder = runs["folder"] / "monitor"
    done = run("figures", str(folder), "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / f"monitor.{kind}") for kind in ("png", "svg")]
    assert "training_norms" in done.stderr
    assert figures_main([str(folder), "training_norms", "monitor", "--scope", "language_model"]) == 0
    assert (folder / "monitor-language_model.png").is_file()


def test_compare_reads_its_folder_in_a_process_of_its_own(runs, tmp_path):
    folder = runs["folder"] / "monitor"
    done = run("probes.compare", str(folder), "--out", str(tmp_path / "changes"))
    assert done.returncode == 0, done.stderr
    assert "prompts:" not in done.stderr and (tmp_path / "changes" / "before_after.png").is_file()
    changes = read_record_or_run(tmp_path / "changes", "changes", "token_changes", "rollouts")
    whole = changes.changes.query("bin == 'all'").iloc[0]
    line, first = (read_journal(folder).evaluations[place] for place in (-1, 0))
    moved = line.losses["visual"] - first.losses["visual"]
    assert whole["kl_visual_change_mean_nats"] == pytest.approx(moved, rel=1e-4)
    assert changes.header["settings"]["before"].endswith("monitor@0")
    assert changes.header["settings"]["after"].endswith("monitor@4")


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (("{}@0", "{}@3"), "has no step 3; it must be one of 0, 2, 4"),
        (("{}", "bundled"), "`checkpoints` must be one folder of a monitor or two"),
        (("{}@2",), "`checkpoints` must name two measurements"),
    ],
)
def test_what_cannot_be_compared_is_one_line(runs, tmp_path, capsys, named, said):
    folder = runs["folder"] / "monitor"
    assert compare_main([*(name.format(folder) for name in named), "--out", str(tmp_path / "c")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line and not (tmp_path / "c").exists()


def test_two_measurements_of_one_run_are_compared(runs, tmp_path):
    folder = runs["folder"] / "monitor"
    assert compare_main([f"{folder}@2", str(folder), "--out", str(tmp_path / "c")]) == 0
    header = read_record_or_run(tmp_path / "c").header
    assert [Path(header["settings"][side]).name for side in ("before", "after")] == ["monitor@2", "monitor@4"]


def test_runs_on_other_responses_are_not_compared(runs, checkpoints, tmp_path, capsys):
    other = monitor_of(models.load(checkpoints), tmp_path / "other", seed=5, null_responses=0)
    other.begin()
    other.end(0)
    folders = [str(runs["folder"] / "monitor"), str(tmp_path / "other")]
    assert compare_main([*folders, "--out", str(tmp_path / "c")]) == 2
    assert "must be measured on the same responses" in capsys.readouterr().err


def test_a_trainer_that_goes_on_continues_the_journal(runs, checkpoints, tmp_path):
    shutil.copytree(runs["folder"] / "monitor", tmp_path / "monitor")
    shutil.copytree(runs["folder"] / "monitored" / "checkpoint-2", tmp_path / "checkpoint-2")
    pair = models.load(checkpoints)
    trainer = trainer_of(pair, tmp_path, monitor_of(pair, tmp_path / "monitor"))
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    before, after = (read_journal(place / "monitor") for place in (runs["folder"], tmp_path))
    assert [line.step for line in after.evaluations] == [0, 2, 4]
    assert [line.losses for line in after.evaluations] == [line.losses for line in before.evaluations]
    assert [line.norms for line in after.geometry] == [line.norms for line in before.geometry]
    assert [line.own_losses for line in after.evaluations] == [line.own_losses for line in before.evaluations]


def state_of(pair, optimizer):
    """All that a measurement must leave as it is."""
    student, teacher = pair.student.model, pair.teacher.model
    return {
        "modes": [module.training for model in (student, teacher) for module in model.modules()],
        "grads": [None if p.grad is None else p.grad.clone() for p in student.parameters()],
        "trained": [p.requires_grad for p in student.parameters()],
        "weights": [p.detach().clone() for p in student.parameters()],
        "versions": [p._version for p in student.parameters()],
        "python": random.getstate(),
        "numpy": [str(part) for part in np.random.get_state()],
        "torch": torch.get_rng_state(),
        "enabled": torch.is_grad_enabled(),
        "moments": [value.clone() for one in optimizer.state.values() for value in one.values()],
    }


def same(one, two):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, list):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return one == two


@pytest.mark.parametrize("enabled", [True, False])
def test_a_measurement_leaves_models_gradients_and_random_numbers_as_they_were(checkpoints, tmp_path, enabled):
    pair = models.load(checkpoints)
    student = pair.student.model.train()
    list(student.modules())[5].eval()  # a part of it in another mode
    next(student.parameters()).requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=1e-3)
    OnText.compute_loss(None, student, {"input_ids": torch.tensor([[40, 41, 42]])}).backward()
    optimizer.step()
    assert any(p.grad is not None for p in student.parameters()) and any(m.training for m in student.modules())
    with torch.set_grad_enabled(enabled):
        before = state_of(pair, optimizer)
        monitor = monitor_of(pair, tmp_path / "run")
        monitor.begin()
        monitor.step(2)
        after = state_of(pair, optimizer)
        monitor.end(2)
    assert [name for name in before if not same(before[name], after[name])] == []


@pytest.mark.parametrize(("rate", "warned"), [(-1.0, True), (1.0, False)])
def test_unlearning_is_warned_of_once_with_its_first_step_and_health_is_not(
    checkpoints, tmp_path, capsys, rate, warned
):
    """Steps up the language loss of the fixed responses unlearn it; steps down are what distillation should do."""
    pair = models.load(checkpoints)
    monitor = monitor_of(pair, tmp_path / "run", every=1)
    monitor.begin()
    rollouts, prompts = monitor._opened()[1].rollouts, monitor._analyzer.prompts
    for step in range(1, 5):
        stepped(pair, "language", 0.6 * rate, rollouts, prompts)
        monitor.step(step)
    monitor.end(4)
    said = [line for line in capsys.readouterr().err.splitlines() if "language is being unlearnt" in line]
    assert len(said) == warned
    since = monitor.read().notes["unlearnt_since"]
    assert (since is not None) == warned
    if warned:
        assert since >= 1 and f"is above its start since step {since}." in said[0]
        assert "raise lambda" in said[0] and f"a checkpoint before step {since}" in said[0]
        assert f"unlearnt since step {since}" in monitor.draw().get_suptitle()


def test_the_folder_is_held_refused_and_replaced(checkpoints, tmp_path):
    pair, folder = models.load(checkpoints), tmp_path / "run"
    monitor = monitor_of(pair, folder, null_responses=0)
    with pytest.raises(OptionError, match="`step` must follow `begin`"):
        monitor.measure(0)
    assert not folder.exists()
    monitor.begin()
    assert is_run(folder) and read_journal(folder).geometry[0].against_null is None
    with pytest.raises(RecordError, match="is being written by process"):
        monitor_of(pair, folder).begin()
    monitor.end(0)
    with pytest.raises(RecordError, match="pass `overwrite=True`"):
        monitor_of(pair, folder).begin()
    with pytest.raises(RecordError, match="`settings.gamma` 2.0, not 1.0"):
        monitor_of(pair, folder, gamma=1.0, null_responses=0).begin(2)
    again = monitor_of(pair, folder, overwrite=True, seed=4, null_responses=0)
    again.begin()
    again.end(0)
    assert again.read().header["settings"]["seed"] == 4 and len(read_journal(folder).evaluations) == 1
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "notes.txt").touch()
    with pytest.raises(RecordError, match=r"holds notes\.txt but no run"):
        monitor_of(pair, tmp_path / "else").begin()


def test_weights_that_are_not_finite_end_no_training(checkpoints, tmp_path, capsys):
    pair = models.load(checkpoints)
    monitor = monitor_of(pair, tmp_path / "run", null_responses=0)
    monitor.begin()
    with torch.no_grad():
        pair.student.model.get_output_embeddings().weight[3] = torch.nan
    assert monitor.step(2) == {}
    assert "warning: monitor: step 2 is not measured: " in capsys.readouterr().err
    assert [line.step for line in read_journal(tmp_path / "run").evaluations] == [0]
    assert monitor.end(2) == {}


def test_options_are_checked_in_one_line(pair, tmp_path):
    models_ = pair.student.model, pair.teacher.model, pair.student.processor
    with pytest.raises(OptionError, match="every"):
        GeometryMonitor(*models_, every=0)
    with pytest.raises(OptionError, match="`evry` is no option"):
        GeometryMonitor(*models_, evry=5)
