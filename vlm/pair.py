"""Load a teacher and a student, and make sure that they speak of the same tokens."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm.checkpoint import CheckpointError, LoadedModel, check_vision, load_model
from vlm.names import resolve


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
        return {
            side: {"name": loaded.name, "fingerprint": loaded.fingerprint, "dtype": str(loaded.model.dtype)[6:]}
            for side, loaded in (("student", self.student), ("teacher", self.teacher))
        } | {"n_ids": self.n_ids, "warnings": list(self.warnings)}


def load_pair(
    student: str,
    teacher: str | None = None,
    *,
    dtype: str = "float32",
    teacher_dtype: str | None = None,
    device: str = "cpu",
    attention: str = "sdpa",
    parameters: str | None = None,
) -> Pair:
    """Load two checkpoints (local folders, hub ids, or `bundled`) that transformers knows as image-text-to-text.

    parameters: a regular expression; the student's parameters whose names it does not find are frozen.

    Without `teacher`, the student's folder must hold a `pair.json` that names it. Weights are read from safetensors
    only and no remote code is run.

    Raises:
        CheckpointError: a missing or text-only checkpoint, no teacher, tokenizers that differ (the field is named), or
            `parameters` that find nothing.
    """
    named, placed = teacher_named(student, teacher), {"device": device, "attention": attention}
    first = load_model(student, dtype=dtype, parameters=parameters, **placed)
    return pair_of(first, load_teacher(named, dtype=teacher_dtype or dtype, **placed))


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
    folder = resolve(student)
    check_vision(folder)
    if teacher is not None:
        return NamedTeacher(resolve(teacher))
    path = _pair_file(folder)
    return NamedTeacher(teacher_of(folder), _read_pair(path)["fingerprint"], str(path))


def load_teacher(teacher: NamedTeacher, **settings: Any) -> LoadedModel:
    """Load a teacher with the settings of `load_model`.

    Raises:
        CheckpointError: it cannot be loaded, or has other weights than `pair.json` says.
    """
    try:
        loaded = load_model(teacher.checkpoint, **settings)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace("`checkpoint`", "`teacher`", 1)) from None
    if teacher.fingerprint and teacher.fingerprint != loaded.fingerprint:
        raise CheckpointError(
            f"{teacher.pair_file} names a teacher with fingerprint {teacher.fingerprint}, but its weights have"
            f" {loaded.fingerprint}; give --teacher to use it all the same"
        )
    return loaded


def pair_of(student: LoadedModel, teacher: LoadedModel) -> Pair:
    """Join two loaded checkpoints, the teacher frozen.

    Raises:
        CheckpointError: their tokenizers differ (the field is named).
    """
    teacher.model.requires_grad_(False)
    _check_tokens_agree(student, teacher)
    return Pair(student, teacher, min(student.n_ids, teacher.n_ids), tuple(_differences(student, teacher)))


def _pair_file(folder: str) -> Path:
    return Path(folder) / "pair.json"


def teacher_of(folder: str) -> str:
    """Return the folder or hub id of the teacher that a student's `pair.json` names."""
    path = _pair_file(folder)
    if not path.is_file():
        raise CheckpointError(
            f"`teacher` must be given: {folder} holds no pair.json that names one; add --teacher CKPT"
        )
    named = _read_pair(path)["teacher"]
    beside = path.parent / named
    return str(beside.resolve()) if beside.is_dir() else named


def _read_pair(path: Path) -> Mapping[str, str]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    fields = content if isinstance(content, dict) else {}
    pair = {"teacher": fields.get("teacher"), "fingerprint": fields.get("fingerprint", "")}
    if not pair["teacher"] or not all(isinstance(value, str) for value in pair.values()):
        raise CheckpointError(f"{path} must be a JSON object with a text field `teacher`; mend it or give --teacher")
    return pair


def _check_tokens_agree(student: LoadedModel, teacher: LoadedModel) -> None:
    """Refuse two tokenizers between which an id could mean two things; name the first field that differs."""
    ours, theirs = student.processor.tokenizer, teacher.processor.tokenizer
    mine, other = ours.get_vocab(), theirs.get_vocab()
    if mine != other:
        differing = sorted(mine.items() ^ other.items(), key=lambda item: (item[1], item[0]))[0]
        raise CheckpointError(
            f"the tokenizers must agree, but `vocab` differs at {differing[0]!r} (id {differing[1]});"
            " distillation over tokens needs one tokenizer"
        )
    for field in ("eos_token_id", "pad_token_id", "bos_token_id", "unk_token_id"):
        _check_equal(field, getattr(ours, field), getattr(theirs, field))
    _check_equal("visual token ids", student.visual_ids, teacher.visual_ids)


def _check_equal(field: str, of_student: object, of_teacher: object) -> None:
    if of_student != of_teacher:
        raise CheckpointError(
            f"the tokenizers must agree, but `{field}` is {of_student} for the student and {of_teacher} for the teacher"
        )


def _differences(student: LoadedModel, teacher: LoadedModel) -> list[str]:
    """Differences that are allowed but worth a word in the record."""
    found = []
    if student.processor.chat_template != teacher.processor.chat_template:
        found.append("the chat templates differ; each model renders prompts with its own")
    ours, theirs = (m.processor.image_processor.to_dict() for m in (student, teacher))
    if differing := sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)):
        found.append(f"the image preprocessing differs in {', '.join(differing)}; each model uses its own")
    return found
