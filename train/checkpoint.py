"""Checkpoints of a run: `checkpoints/step-N`, and the links `last` and `best` to the two that are kept.

A run that averages its last weights writes them to `averaged` at its end, a checkpoint without training state.

Each is a folder that probes read as any checkpoint: safetensors weights, the processor and `pair.json`. The training
state is in `training.pt` next to them. A folder is written under another name and renamed when it is whole; a link
replaces the old one in one step. So a run can be killed at any moment.

With adapters the weights are the merged ones, and the adapters are in the training state; see `train.adapters`.

`best` is never later than `last`, the checkpoint from which a run continues.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from records import RecordError
from records.files import TEMPORARY
from train.adapters import taken_off
from train.learner import Learner, State
from train.sharding import load_optimizer
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.checkpoints.optimizer_state import STATE

LAST, BEST, AVERAGED = "last", "best", "averaged"


@dataclass(frozen=True)
class Teacher:
    """The teacher as pair.json names it: its folder or hub id, and the fingerprint of its weights."""

    name: str
    fingerprint: str


@dataclass
class Progress:
    """How far a run has come; the rest of it depends on this, the weights and the optimizer alone.

    Random draws are functions of the seed and the step: no state of a generator is carried from step to step.
    """

    step: int = 0
    skipped_in_a_row: int = 0
    best: float | None = None
    """The best accuracy evaluated before this step."""


def save(run: Path, student: LoadedModel, teacher: Teacher, progress: Progress, state: State) -> Path:
    """Write the checkpoint of the present step and let `last` point to it; return its folder."""
    folder = run / "checkpoints" / f"step-{progress.step:06d}"
    if not _is_kept(run, folder):
        optional = {"adapters": state.adapters, "average": state.average}
        there = {name: part for name, part in optional.items() if part is not None}
        training = {**vars(progress), "optimizer": state.optimizer, **there}
        _write(folder, student, teacher, state, training)
    _link(run, LAST, folder)
    return folder


def save_averaged(run: Path, learner: Learner, teacher: Teacher) -> None:
    """Write the mean of the last weights, if the run has one."""
    average, folder = learner.weight_average, run / AVERAGED
    if average is None or not average.n or folder.is_dir() or not learner.accelerator.is_main_process:
        return
    with average.in_place_of(learner.parameters):
        _write(folder, learner.pair.student, teacher, learner.state())


def _write(
    folder: Path, student: LoadedModel, teacher: Teacher, state: State, training: dict[str, Any] | None = None
) -> None:
    """Write a checkpoint under another name, and rename it when it is whole."""
    part = folder.with_name(folder.name + TEMPORARY)
    for stale in (part, folder):
        shutil.rmtree(stale, ignore_errors=True)
    with taken_off(student.model):
        student.model.save_pretrained(part, state_dict=state.weights)
    student.processor.save_pretrained(part)
    _write_pair(part, folder, teacher)
    if training is not None:
        torch.save(training, part / STATE)
    part.rename(folder)


def keep_as_best(run: Path, folder: Path) -> None:
    """Let `best` point to a checkpoint."""
    _link(run, BEST, folder)


def prune(run: Path) -> None:
    """Remove the checkpoints that neither link points to."""
    for folder in (run / "checkpoints").glob("step-*"):
        if not _is_kept(run, folder):
            shutil.rmtree(folder)


def restore(run: Path, learner: Learner) -> Progress:
    """Load the state of `last` into the optimizer and the adapters, and return its progress; that of step 0 without it.

    A student without adapters must have been loaded from there.

    Raises:
        RecordError: the adapters are not those of the checkpoint.
    """
    path = run / LAST / STATE
    if not path.is_file():
        return Progress()
    state: dict[str, Any] = torch.load(path, map_location=learner.pair.student.device, weights_only=True)
    held = state.pop("adapters", None)
    if learner.adapters is not None:
        learner.adapters.load(held)
    elif held is not None:
        raise RecordError("`lora_rank` must be that which the run began with, got 0: choose another `--out`")
    average = state.pop("average", None)
    if learner.weight_average is not None and average is not None:
        learner.weight_average.load(average)
    load_optimizer(learner.optimizer, state.pop("optimizer"))
    return Progress(**state)


def _write_pair(part: Path, folder: Path, teacher: Teacher) -> None:
    """Name the teacher, a folder by its place relative to the checkpoint."""
    named = os.path.relpath(teacher.name, folder.resolve()) if Path(teacher.name).is_dir() else teacher.name
    content = {"teacher": named, "fingerprint": teacher.fingerprint}
    (part / "pair.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _is_kept(run: Path, folder: Path) -> bool:
    links = [run / name for name in (LAST, BEST)]
    return folder.is_dir() and any(link.exists() and link.samefile(folder) for link in links)


def _link(run: Path, name: str, folder: Path) -> None:
    part = run / (name + TEMPORARY)
    part.unlink(missing_ok=True)
    part.symlink_to(folder.relative_to(run))
    part.replace(run / name)
