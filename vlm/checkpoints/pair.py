"""Load a teacher and a student, and make sure that they speak of the same tokens."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cli.foreign_json import read_json
from vlm.checkpoints.adapter_folders import was_called
from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel, check_vision, load_model
from vlm.checkpoints.devices import AUTO
from vlm.checkpoints.places import locate
from vlm.checkpoints.precision import QUANTISED
from vlm.checkpoints.tokens import differences, refuse_other_tokens
from vlm.names import resolve

_TEACHER_S = {"checkpoint": "`teacher`", "dtype": "`teacher_dtype`", "device": "`teacher_device`"}
_ITS = re.compile("^`(" + "|".join(_TEACHER_S) + ")`")
"""How messages about a teacher begin; those about a student name its own options."""


@dataclass(frozen=True)
class Pair:
    """A student and its frozen teacher over one set of response tokens.

    n_ids: number of ids that both tokenizers and heads hold; all divergences are over ids below it.
    warnings: what differs between the two without being an error.
    """

    student: LoadedModel
    teacher: LoadedModel
    n_ids: int
    warnings: tuple[str, ...]

    @property
    def models(self) -> tuple[LoadedModel, LoadedModel]:
        """Student and teacher."""
        return self.student, self.teacher

    def describe(self) -> dict[str, Any]:
        """What identifies the pair in a record."""
        sides = {"student": self.student, "teacher": self.teacher}
        described = {side: loaded.describe() for side, loaded in sides.items()}
        return described | {"n_ids": self.n_ids, "warnings": list(self.warnings)}


def load_pair(
    student: str,
    teacher: str | None = None,
    *,
    dtype: str = AUTO,
    teacher_dtype: str | None = None,
    device: str = AUTO,
    attention: str = "sdpa",
    parameters: str | None = None,
) -> Pair:
    """Load two checkpoints (folders, hub ids with or without `@REVISION`, or `bundled`) of image-text-to-text models.

    parameters: a regular expression; the student's parameters whose names it does not find are frozen.

    Without `teacher`, the student's folder must hold a `pair.json` that names it. Weights are read from safetensors
    only and no remote code is run.

    Raises:
        CheckpointError: a missing or text-only checkpoint, no teacher, tokenizers that differ (the field is named), or
            `parameters` that find nothing.
    """
    named, placed = teacher_named(student, teacher), {"device": device, "attention": attention}
    first = load_student(student, dtype=dtype, parameters=parameters, **placed)
    return pair_of(first, load_teacher(named, dtype=teacher_dtype or dtype, **placed))


def load_student(student: str, **settings: Any) -> LoadedModel:
    """Load a student with the settings of `load_model`.

    Raises:
        CheckpointError: it cannot be loaded, or is to be held in 8 or 4 bits, which have no gradients.
    """
    if settings.get("dtype") in QUANTISED:
        raise CheckpointError(
            f"`dtype` {settings['dtype']} is for a teacher, whose weights have no gradients: give it as"
            " `teacher_dtype`, and the student another"
        )
    return load_model(student, **settings)


@dataclass(frozen=True)
class NamedTeacher:
    """A teacher's folder or hub id, and the fingerprint that its weights must have; any if empty.

    pair_file: the file that names it, for messages.
    """

    checkpoint: str
    fingerprint: str = ""
    pair_file: str = ""


def teacher_named(student: str, teacher: str | None = None) -> NamedTeacher:
    """Return the teacher that is given, or else the one that the student's `pair.json` names.

    Raises:
        CheckpointError: the student is no checkpoint that reads pictures, or no teacher is named.
    """
    check_vision(student)
    if teacher is not None:
        return NamedTeacher(resolve(teacher))
    path = _pair_file(student)
    return NamedTeacher(teacher_of(student), _read_pair(path)["fingerprint"], str(path))


def load_teacher(teacher: NamedTeacher, **settings: Any) -> LoadedModel:
    """Load a teacher with the settings of `load_model`.

    Raises:
        CheckpointError: it cannot be loaded, or has other weights than `pair.json` says.
    """
    try:
        loaded = load_model(teacher.checkpoint, **settings)
    except CheckpointError as error:
        raise CheckpointError(_ITS.sub(lambda its: _TEACHER_S[its[1]], str(error), count=1)) from None
    is_called_so = teacher.fingerprint in ("", loaded.fingerprint)
    if not is_called_so and not was_called(teacher.checkpoint, teacher.fingerprint):
        raise CheckpointError(
            f"{teacher.pair_file} names a teacher with fingerprint {teacher.fingerprint}, but its weights have"
            f" {loaded.fingerprint}; give --teacher to use it all the same"
        )
    return loaded


def pair_of(student: LoadedModel, teacher: LoadedModel) -> Pair:
    """Join two loaded checkpoints, the teacher frozen.

    Where one has further ids after those of the other, only those of both are drawn and scored.

    Raises:
        CheckpointError: an id that enters a score means different things to the two (the field is named).
    """
    teacher.model.requires_grad_(False)
    n_ids = min(student.n_ids, teacher.n_ids)
    refuse_other_tokens(student, teacher, n_ids)
    warnings = (*student.notes, *teacher.notes, *differences(student, teacher))
    if n_ids < student.n_ids:
        student = replace(student, most_ids=n_ids)
    teacher = replace(teacher, hands_to=student.device)
    return Pair(student, teacher, n_ids, warnings)


def _pair_file(student: str) -> Path:
    return locate(student).folder / "pair.json"


def teacher_of(student: str) -> str:
    """Return the folder or hub id of the teacher that a student's `pair.json` names."""
    path = _pair_file(student)
    if not path.is_file():
        raise CheckpointError(
            f"`teacher` must be given: {student} holds no pair.json that names one; add --teacher CKPT"
        )
    named = _read_pair(path)["teacher"]
    beside = path.parent / named
    return str(beside.resolve()) if beside.is_dir() else named


def _read_pair(path: Path) -> Mapping[str, str]:
    try:
        content = read_json(path.read_bytes())
    except ValueError:
        content = None
    fields = content if isinstance(content, dict) else {}
    pair = {"teacher": fields.get("teacher"), "fingerprint": fields.get("fingerprint", "")}
    if not pair["teacher"] or not all(isinstance(value, str) for value in pair.values()):
        raise CheckpointError(f"{path} must be a JSON object with a text field `teacher`; mend it or give --teacher")
    return pair
