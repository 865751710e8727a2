"""Prompts as a processor's tensors: each is processed once, and batches are put together from what is kept.

Processing a picture costs more than all else that is done to a prompt, and a prompt is read by several passes. So the
tensors of single prompts are kept, up to a number of bytes for processors that agree, such as those of a student and
its teacher, and a batch is made of them by padding and concatenation. Whether that is what the processor itself makes
of such a batch is found out on the first batch of each kind, by running both; where it is not, or where shapes do not
fit together, the processor runs on the batch.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import ProcessorMixin

from vlm.pictures.picture import Picture

KEPT_BYTES = min(4 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 16)
"""Of tensors, for processors that agree."""

Side = Literal["left", "right"]
REFUSALS = (ValueError, RuntimeError, IndexError, ArithmeticError)
"""How processors say that they do not take a prompt."""


@dataclass(frozen=True)
class Written:
    """A rendered prompt, and the pictures that its markers stand for."""

    text: str
    pictures: Sequence[Picture]


@dataclass
class Kept:
    """Tensors of prompts, at most so many bytes; where more come, any of those that are there go.

    Passes go through prompts in order, and what is used least recently would always be what is needed next.
    """

    limit: int
    tensors: dict[bytes, dict[str, Tensor]] = field(default_factory=dict)
    size: int = 0
    _keys: list[bytes] = field(default_factory=list)
    _random: Random = field(default_factory=lambda: Random(0))

    def add(self, key: bytes, tensors: dict[str, Tensor]) -> None:
        """Keep the tensors of a prompt, unless they are more than may be kept at all."""
        needed = _size(tensors)
        if needed > self.limit:
            return
        while self.size + needed > self.limit:
            place = self._random.randrange(len(self._keys))
            self._keys[place], self._keys[-1] = self._keys[-1], self._keys[place]
            self.size -= _size(self.tensors.pop(self._keys.pop()))
        self.tensors[key] = tensors
        self._keys.append(key)
        self.size += needed

    def drop_others(self, keys: Set[bytes]) -> None:
        """Keep the tensors of these prompts alone."""
        self.tensors = {key: tensors for key, tensors in self.tensors.items() if key in keys}
        self._keys = list(self.tensors)
        self.size = sum(map(_size, self.tensors.values()))


@dataclass
class Memory:
    """What is kept of a processor: tensors of single prompts, and for which kinds of batches these can be joined."""

    kept: Kept = field(default_factory=lambda: Kept(KEPT_BYTES))
    can_join: dict[tuple[Any, ...], bool] = field(default_factory=dict)


_MEMORIES: WeakKeyDictionary[ProcessorMixin, Memory] = WeakKeyDictionary()


_ALIKE: WeakValueDictionary[str, Memory] = WeakValueDictionary()


def memory_of(processor: ProcessorMixin) -> Memory:
    """Return what is kept of a processor and of those that agree with it, as long as one of them lives."""
    if processor not in _MEMORIES:
        _MEMORIES[processor] = _ALIKE.setdefault(_rules(processor), Memory())
    return _MEMORIES[processor]


@contextmanager
def forgetting(processors: Iterable[ProcessorMixin]) -> Iterator[None]:
    """Keep no tensors of the prompts that come in the context for the first time: they do not come again."""
    memories = [memory_of(processor) for processor in processors]
    before = [set(memory.kept.tensors) for memory in memories]
    try:
        yield
    finally:
        for memory, keys in zip(memories, before, strict=True):
            memory.kept.drop_others(keys)


def _rules(processor: ProcessorMixin) -> str:
    """Digest of how a processor turns text into ids; what it does to pictures is in the key of each prompt."""
    backend = getattr(processor.tokenizer, "backend_tokenizer", None)
    if backend is None:
        return f"{id(processor)}"
    rules = {k: v for k, v in json.loads(backend.to_str()).items() if k not in ("padding", "truncation")}
    about = [type(processor).__qualname__, type(processor.tokenizer).__qualname__, rules]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def single(written: Written, processor: ProcessorMixin) -> dict[str, Tensor]:
    """Return the tensors of one prompt, without padding; they are shared and must not be written to.

    Raises:
        PictureError: a picture cannot be read.
        one of `REFUSALS`: the processor does not take it.
    """
    kept, key = memory_of(processor).kept, _key(written, processor)
    if key not in kept.tensors:
        tensors = processed([written], processor, "left")
        kept.add(key, tensors)
        return dict(tensors)
    return dict(kept.tensors[key])


def batch(
    written: Sequence[Written], rows: Sequence[dict[str, Tensor]], processor: ProcessorMixin, side: Side
) -> dict[str, Tensor]:
    """Return the tensors of some prompts, padded on `side`: what the processor makes of all of them at once.

    rows: what `single` returns for each.

    Raises:
        as `single`.
    """
    if len(rows) == 1:
        return rows[0]
    joined = _joined(rows, processor, side)
    if joined is None:
        return processed(written, processor, side)
    kind, can_join = _kind(written, rows, side), memory_of(processor).can_join
    if kind not in can_join:
        whole = processed(written, processor, side)
        can_join[kind] = _same(joined, whole)
        return whole
    return joined if can_join[kind] else processed(written, processor, side)


def processed(written: Sequence[Written], processor: ProcessorMixin, side: Side) -> dict[str, Tensor]:
    """Run the processor on some prompts at once, padded on `side`.

    Raises:
        as `single`.
    """
    inputs: dict[str, Any] = {"text": [one.text for one in written]}
    if any(one.pictures for one in written):
        inputs["images"] = [[picture.load() for picture in one.pictures] for one in written]
    if not adds_special_tokens(written[0].text, processor.tokenizer):
        inputs["add_special_tokens"] = False
    return dict(processor(**inputs, return_tensors="pt", padding=True, padding_side=side))


def adds_special_tokens(text: str, tokenizer: Any) -> bool:
    """Whether the tokenizer has to add the tokens that begin a rendered text: not if the template has written them."""
    return not (tokenizer.bos_token and text.startswith(tokenizer.bos_token))


def _key(written: Written, processor: ProcessorMixin) -> bytes:
    """Digest of all that a prompt's tensors depend on, the processor's settings as they are now among them."""
    images: Any = getattr(processor, "image_processor", None)
    plain = {k: v for k, v in vars(processor).items() if isinstance(v, (bool, int, float, str, tuple, list))}
    about = [written.text, plain, type(images).__name__, vars(images) if hasattr(images, "to_dict") else None]
    about.append(len(processor.tokenizer) if hasattr(processor.tokenizer, "__len__") else None)
    digest = hashlib.sha256(repr(about).encode("utf-8", "surrogatepass"))
    for picture in written.pictures:
        digest.update(picture.fingerprint)
    return digest.digest()


def _kind(written: Sequence[Written], rows: Sequence[Mapping[str, Tensor]], side: Side) -> tuple[Any, ...]:
    """What decides how a processor lays a batch out: pictures in all, some or no rows, how many, and padding."""
    counts = {len(one.pictures) for one in written}
    lengths = {row["input_ids"].shape[1] for row in rows}
    names = frozenset(name for row in rows for name in row)
    return 0 in counts, max(counts) > 0, len(counts) > 1, max(counts) > 1, len(lengths) > 1, side, names


def _joined(rows: Sequence[Mapping[str, Tensor]], processor: ProcessorMixin, side: Side) -> dict[str, Tensor] | None:
    """The rows as a batch: entries of tokens padded, all else concatenated on the first axis; None where neither fits.

    A name that only some rows have is of their pictures.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    joined = {}
    for name in names:
        parts = [row[name] for row in rows if name in row]
        if not all(isinstance(part, Tensor) and part.ndim for part in parts):
            return None
        if all(name in row and _is_per_token(row[name], row) for row in rows):
            fill = processor.tokenizer.pad_token_id if name == "input_ids" else 0
            parts = _padded(parts, fill, side)
        if len({(part.shape[1:], part.dtype) for part in parts}) > 1:
            return None
        joined[name] = torch.cat(parts)
    return joined


def _is_per_token(value: Tensor, row: Mapping[str, Tensor]) -> bool:
    return value.shape[:2] == row["input_ids"].shape and not value.is_floating_point()


def _padded(parts: Sequence[Tensor], fill: int, side: Side) -> list[Tensor]:
    """Make rows `[1, L, ...]` equally long."""
    longest = max(part.shape[1] for part in parts)
    padded = []
    for part in parts:
        missing = longest - part.shape[1]
        ends = (missing, 0) if side == "left" else (0, missing)
        padded.append(pad(part, (0, 0) * (part.ndim - 2) + ends, value=fill))
    return padded


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        isinstance(other[name], Tensor) and value.dtype == other[name].dtype and torch.equal(value, other[name])
        for name, value in one.items()
    )


def _size(tensors: Mapping[str, Any]) -> int:
    """Bytes."""
    return sum(v.numel() * v.element_size() for v in tensors.values() if isinstance(v, Tensor))
