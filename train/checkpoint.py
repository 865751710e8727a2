"""Checkpoints of a run: `checkpoints/step-N`, and the links `last` and `best` to the two that are kept.

A run that averages its last weights writes them to `averaged` at its end, a checkpoint without training state.

Each is a folder that probes read as any checkpoint: safetensors weights, the processor and `pair.json`. The training
state is in `training.pt` next to them, and `checkpoint.json` has the sha256 of each file, see `train.held`. A folder is
written under another name and renamed when it is whole; a link replaces the old one in one step. So a run can be killed
at any moment.

With adapters the weights are the merged ones, and the adapters are in the training state; see `train.adapters`.

`best` is never later than `last`, the checkpoint from which a run continues.
"""

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cli.values import LARGEST
from geometry.memory import is_out_of_memory
from records import RecordError
from records.files import TEMPORARY, writing
from train.adapters import taken_off
from train.held import BEST, CHECKPOINTS, LAST, MANIFEST, write_manifest
from train.learner import Learner, State
from train.sharding import load_optimizer
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.checkpoints.optimizer_state import STATE

AVERAGED = "averaged"
_LISTED = "listed"  # in a training state: a list of the checkpoint's files belongs to it


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
    gamma: float | None = None
    """Strength of the steering, once an automatic run has chosen it."""
    lambda_: float = 0.0
    """Strength of the preservation term in the next step of an automatic run."""


def save(run: Path, student: LoadedModel, teacher: Teacher, progress: Progress, state: State) -> Path:
    """Write the checkpoint of the present step and let `last` point to it; return its folder.

    Raises:
        NotWritten: the system refuses; the checkpoint before stays.
    """
    folder = run / CHECKPOINTS / f"step-{progress.step:06d}"

    def fill(part: Path) -> None:
        _fill(part, student, state)
        _write_pair(part, folder, teacher)
        _write_state(part, progress, state)
        write_manifest(part, progress.step, progress.best, state.written)

    with writing(folder):
        if not _is_kept(run, folder):
            _whole(folder, fill)
        _link(run, LAST, folder)
    return folder


def save_averaged(run: Path, learner: Learner, teacher: Teacher) -> None:
    """Write the mean of the last weights, if the run has one.

    Raises:
        NotWritten: the system refuses.
    """
    average, folder, student = learner.weight_average, run / AVERAGED, learner.pair.student
    if average is None or not average.n or folder.is_dir() or not learner.accelerator.is_main_process:
        return

    def fill(part: Path) -> None:
        with average.in_place_of(learner.parameters):
            _fill(part, student, learner.state())
        _write_pair(part, folder, teacher)

    with writing(folder):
        _whole(folder, fill)


def _whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder under another name, and rename it when it is whole."""
    part = folder.with_name(folder.name + TEMPORARY)
    for stale in (part, folder):
        shutil.rmtree(stale, ignore_errors=True)
    try:
        fill(part)
        part.rename(folder)
    except Exception:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _fill(part: Path, student: LoadedModel, state: State) -> None:
    with taken_off(student.model):
        student.model.save_pretrained(part, state_dict=state.weights)
    student.processor.save_pretrained(part)


def _write_state(part: Path, progress: Progress, state: State) -> None:
    optional = {"adapters": state.adapters, "average": state.average}
    there = {name: value for name, value in optional.items() if value is not None}
    torch.save({**vars(progress), _LISTED: True, "optimizer": state.optimizer, **there}, part / STATE)


def keep_as_best(run: Path, folder: Path) -> None:
    """Let `best` point to a checkpoint."""
    with writing(run / BEST):
        _link(run, BEST, folder)


def prune(run: Path) -> None:
    """Remove the checkpoints that neither link points to."""
    for folder in (run / CHECKPOINTS).glob("step-*"):
        if not _is_kept(run, folder):
            with writing(folder):
                shutil.rmtree(folder)


def restore(run: Path, learner: Learner) -> Progress:
    """Load the state of `last` into the optimizer and the adapters, and return its progress; that of step 0 without it.

    A student without adapters must have been loaded from there.

    Raises:
        RecordError: the state is damaged, or the adapters are not those of the checkpoint.
    """
    path = run / LAST / STATE
    if not path.is_file():
        return Progress()
    state = _read(path, learner)
    if state.pop(_LISTED, False) and not (path.parent / MANIFEST).is_file():
        raise RecordError(f"`{path.parent / MANIFEST}` is missing: put it back, or start again at another `--out`")
    held, optimizer = state.pop("adapters", None), state.pop("optimizer")
    if learner.adapters is not None:
        learner.adapters.load(held)
    elif held is not None:
        raise RecordError("`lora_rank` must be that which the run began with, got 0: choose another `--out`")
    average = state.pop("average", None)
    try:
        if learner.weight_average is not None and average is not None:
            learner.weight_average.load(average)
        load_optimizer(learner.optimizer, optimizer)
        return _checked(Progress(**state))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise _not_ours(path) from None


def _checked(progress: Progress) -> Progress:
    """Return a progress whose fields are numbers that a run can have.

    Raises:
        ValueError: they are not.
    """
    counts = progress.step, progress.skipped_in_a_row
    numbers = [progress.lambda_, *(n for n in (progress.best, progress.gamma) if n is not None)]
    if not all(type(count) is int and 0 <= count <= LARGEST for count in counts):
        raise ValueError(f"counts of steps must be whole numbers from 0, got {counts}")
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise ValueError(f"numbers must be finite, got {numbers}")
    return progress


def _read(path: Path, learner: Learner) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location=learner.pair.student.device, weights_only=True)
    except Exception as error:  # bytes that are no state raise anything
        if is_out_of_memory(error):
            raise
        raise _not_ours(path) from None
    if not isinstance(state, dict) or "optimizer" not in state:
        raise _not_ours(path)
    return state


def _not_ours(path: Path) -> RecordError:
    return RecordError(
        f"`{path}` must be the state of this run's optimizer, got another or a damaged file: put back what the run"
        " wrote, or start again at another `--out`"
    )


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
