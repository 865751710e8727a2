"""Load a teacher and a student, and make sure that they speak of the same tokens."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.utils import logging

from vlm.families import parameter_groups, visual_token_ids
from vlm.processors import load_processor

BUNDLED = "bundled"
_WEIGHTS = "*.safetensors"
_BUNDLED_FOLDER = Path(__file__).parent / "tiny" / "student"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


class PairError(ValueError):
    """A checkpoint that cannot be loaded, or two that do not fit together; the message is one line."""


@dataclass(frozen=True)
class Member:
    """One model of the pair, in eval mode, with the processor it renders with.

    name: hub id, or the last two parts of the folder.
    fingerprint: sha256 over the weight files.
    """

    name: str
    model: PreTrainedModel
    processor: ProcessorMixin
    fingerprint: str

    @cached_property
    def visual_ids(self) -> tuple[int, ...]:
        return visual_token_ids(self.model.config, self.processor.tokenizer)

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """Ids that end a response."""
        stated = self.model.generation_config.eos_token_id
        listed = list(stated) if isinstance(stated, (list, tuple)) else [stated]
        own = self.processor.tokenizer.eos_token_id
        return tuple(sorted({int(i) for i in (*listed, own) if i is not None}))

    @cached_property
    def support(self) -> int:
        """Ids below it are tokens of the tokenizer and rows of the head."""
        rows = int(self.model.get_output_embeddings().weight.shape[0])
        return min(max(self.processor.tokenizer.get_vocab().values()) + 1, rows)

    @cached_property
    def banned_ids(self) -> tuple[int, ...]:
        """Ids that sampling must never draw: those of pictures, and the head's rows beyond the tokenizer."""
        rows = int(self.model.get_output_embeddings().weight.shape[0])
        return tuple(sorted({*self.visual_ids, *range(self.support, rows)}))

    @property
    def context(self) -> int:
        """Longest sequence of prompt and response, tokens."""
        return int(self.model.config.get_text_config().max_position_embeddings)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @cached_property
    def groups(self) -> dict[str, list[nn.Parameter]]:
        return parameter_groups(self.model)


@dataclass(frozen=True)
class Pair:
    """A student and its frozen teacher over one set of response tokens.

    support: number of ids that both tokenizers and heads hold; all divergences are over ids below it.
    warnings: what differs between the two without being an error.
    """

    student: Member
    teacher: Member
    support: int
    warnings: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """What identifies the pair in a record."""
        return {
            side: {"name": member.name, "fingerprint": member.fingerprint, "dtype": str(member.model.dtype)[6:]}
            for side, member in (("student", self.student), ("teacher", self.teacher))
        } | {"support": self.support, "warnings": list(self.warnings)}


def load_pair(
    student: str,
    teacher: str | None = None,
    *,
    dtype: str = "float32",
    teacher_dtype: str | None = None,
    device: str = "cpu",
    attention: str = "sdpa",
) -> Pair:
    """Load two checkpoints (local folders, hub ids, or `bundled`) that transformers knows as image-text-to-text.

    Without `teacher`, the student's folder must hold a `pair.json` that names it. Weights are read from safetensors
    only and no remote code is run.

    Raises:
        PairError: a missing or text-only checkpoint, no teacher, or tokenizers that differ (the field is named).
    """
    folder = _resolve(student)
    _check_vision(folder)
    teacher_folder = _teacher_of(folder) if teacher is None else _resolve(teacher)
    first = load_member(folder, dtype=dtype, device=device, attention=attention)
    second = load_member(teacher_folder, dtype=teacher_dtype or dtype, device=device, attention=attention)
    if teacher is None:
        _check_fingerprint(folder, second.fingerprint)
    second.model.requires_grad_(False)
    _check_tokens_agree(first, second)
    support = min(first.support, second.support)
    return Pair(first, second, support, tuple(_differences(first, second)))


def load_member(checkpoint: str, *, dtype: str = "float32", device: str = "cpu", attention: str = "sdpa") -> Member:
    """Load one checkpoint in eval mode."""
    checkpoint = _resolve(checkpoint)
    if dtype not in DTYPES:
        raise PairError(f"`dtype` must be one of {', '.join(DTYPES)}, got {dtype!r}")
    _check_device(device)
    _check_vision(checkpoint)
    model, processor = _read(checkpoint, DTYPES[dtype], attention)
    model.generation_config = GenerationConfig(
        eos_token_id=model.generation_config.eos_token_id or processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    model.eval().to(device)
    return Member(_name(checkpoint), model, processor, weights_fingerprint(checkpoint))


def _read(checkpoint: str, dtype: torch.dtype, attention: str) -> tuple[PreTrainedModel, ProcessorMixin]:
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            checkpoint,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        processor = load_processor(checkpoint)
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise PairError(f"`checkpoint` {checkpoint} cannot be loaded: {_first_line(error)}") from None
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        raise PairError(f"`checkpoint` {checkpoint} lacks the weights {missing[0]}; save the whole model")
    if not processor.chat_template:
        raise PairError(f"`checkpoint` {checkpoint} has no chat template; only chat models can be read in two views")
    processor.tokenizer.pad_token = processor.tokenizer.pad_token or processor.tokenizer.eos_token
    return model, processor


def weights_fingerprint(checkpoint: str) -> str:
    """Return the sha256 (16 hex digits) over the names and bytes of a checkpoint's safetensors files."""
    is_local = Path(checkpoint).is_dir()
    folder = checkpoint if is_local else snapshot_download(checkpoint, local_files_only=True, allow_patterns=_WEIGHTS)
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob(_WEIGHTS)):
        digest.update(path.name.encode())
        with path.open("rb") as weights:
            while block := weights.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()[:16]


def quiet() -> None:
    """Keep transformers' own bars and notices off the terminal."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _resolve(checkpoint: str) -> str:
    return str(_BUNDLED_FOLDER) if checkpoint == BUNDLED else checkpoint


def _name(checkpoint: str) -> str:
    """A hub id as it is; of a folder the last two parts, which say enough and nothing about the machine."""
    path = Path(checkpoint)
    return "/".join(path.resolve().parts[-2:]) if path.is_dir() else checkpoint


def _pair_file(folder: str) -> Path:
    return Path(folder) / "pair.json"


def _teacher_of(folder: str) -> str:
    path = _pair_file(folder)
    if not path.is_file():
        raise PairError(f"`teacher` must be given: {folder} holds no pair.json that names one; add --teacher CKPT")
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
        raise PairError(f"{path} must be a JSON object with a text field `teacher`; mend it or give --teacher")
    return pair


def _check_fingerprint(folder: str, found: str) -> None:
    stated = _read_pair(_pair_file(folder))["fingerprint"]
    if stated and stated != found:
        raise PairError(
            f"{_pair_file(folder)} names a teacher with fingerprint {stated}, but its weights have {found};"
            " give --teacher to use it all the same"
        )


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:
        raise PairError(f"`device` {device!r} cannot be used ({_first_line(error)}); try cpu") from None


def _check_vision(checkpoint: str) -> None:
    try:
        config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise PairError(
            f"`checkpoint` {checkpoint} is neither a checkpoint folder nor on the hub: {_first_line(error)}"
        ) from None
    if config.model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise PairError(f"`checkpoint` {checkpoint} must read images and text, but {config.model_type} is text-only")


def _check_tokens_agree(student: Member, teacher: Member) -> None:
    """Refuse two tokenizers between which an id could mean two things; name the first field that differs."""
    ours, theirs = student.processor.tokenizer, teacher.processor.tokenizer
    mine, other = ours.get_vocab(), theirs.get_vocab()
    if mine != other:
        differing = sorted(mine.items() ^ other.items(), key=lambda item: (item[1], item[0]))[0]
        raise PairError(
            f"the tokenizers must agree, but `vocab` differs at {differing[0]!r} (id {differing[1]});"
            " distillation over tokens needs one tokenizer"
        )
    for field in ("eos_token_id", "pad_token_id", "bos_token_id", "unk_token_id"):
        _check_equal(field, getattr(ours, field), getattr(theirs, field))
    _check_equal("visual token ids", student.visual_ids, teacher.visual_ids)


def _check_equal(field: str, of_student: object, of_teacher: object) -> None:
    if of_student != of_teacher:
        raise PairError(
            f"the tokenizers must agree, but `{field}` is {of_student} for the student and {of_teacher} for the teacher"
        )


def _differences(student: Member, teacher: Member) -> list[str]:
    """Differences that are allowed but worth a word in the record."""
    found = []
    if student.processor.chat_template != teacher.processor.chat_template:
        found.append("the chat templates differ; each model renders prompts with its own")
    ours, theirs = (m.processor.image_processor.to_dict() for m in (student, teacher))
    if differing := sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)):
        found.append(f"the image preprocessing differs in {', '.join(differing)}; each model uses its own")
    return found


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
