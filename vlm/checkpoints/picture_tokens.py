"""Which ids stand for a picture or frame one, and whether a checkpoint has two views at all, read off the checkpoint.

A prompt is rendered and encoded with a small picture, with a wide one that is cut into tiles, and without any. What
the first two hold and the last does not is a picture's, where it is a mark: a token that was added to the vocabulary
and is no plain word, number or blank. Two further sources know the marks that these prompts do not show, such as those
of videos or of rows: ids that config and processor declare for pictures, videos and sounds, and added marks that are
named for them. An id that a prompt without a picture holds is never one of them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin

from vlm.pictures.picture import Picture
from vlm.views.view import View, ViewError, encode_prompts, per_token

_WORDS = "image|img|picture|video|vision|visual|media|audio|patch|tile|slice|boi|eoi|bov|eov|boa|eoa"
_FIELD = re.compile(rf"(?:^|_)(?:{_WORDS}|row_col)(?:_.*|_?ids?|_?index)$")
_IDS = re.compile(r"(?:^|_)ids?$|token_ind(?:ex|ices|exes)$")
_NAMED = re.compile(r"(?<![a-z])(?:image|img|vision|video|media|patch|slice|tile_|row_\d|fake_token)", re.IGNORECASE)
_FRAMED = re.compile(r"[<\[({|].*\w.*[>\])}|]", re.DOTALL)
_TEXT = "What is in the picture? It is 1, 2 or 3.\n\n\tAnswer: 4 567 890, image or video."
_SMALL, _WIDE = (64, 64), (1024, 448)


@dataclass(frozen=True)
class PictureTokens:
    """What a checkpoint's processor and config say of pictures.

    Raises:
        ViewError: a prompt with a picture, or one without, cannot be rendered and encoded; from every attribute.
    """

    config: PreTrainedConfig
    processor: ProcessorMixin

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """Every id that stands for a picture, a video or a sound, or frames one; ascending."""
        declared = {
            index for index in (*_of_config(self.config.to_dict()), *self._of_processor) if self._is_mark(index)
        }
        named = {
            i for i in self._tokenizer.added_tokens_decoder if self._is_mark(i) and _NAMED.search(self._spelled(i))
        }
        seen = {index for index in self._seen if self._is_mark(index)}
        return tuple(sorted(seen | (named | declared - self._roles) - self._text_ids))

    @cached_property
    def mixes_views(self) -> bool:
        """Whether prompts with more and with fewer pictures can be in one pass: not if text attends across to them."""
        inputs = pictured_rows(self.processor, 1)
        shape = inputs["input_ids"].shape
        return not any(per_token(value, shape) and value.ndim > len(shape) for value in inputs.values())

    def check(self) -> None:
        """Refuse a checkpoint whose prompts are the same with and without a picture, or never without one.

        Raises:
            ViewError: the reason.
        """
        image_ids, text_ids = self._image_ids, self._text_ids
        if not self._seen:
            raise ViewError("its chat template writes nothing for a picture")
        declared = image_ids & set(self._of_processor)
        if left := sorted(text_ids & declared):
            raise ViewError(f"a prompt without a picture still holds {self._spelled(left[0])!r}")

    @cached_property
    def _image_ids(self) -> set[int]:
        return _encoded(_view(_SMALL), self.processor) | _encoded(_view(_WIDE), self.processor)

    @cached_property
    def _text_ids(self) -> set[int]:
        return _encoded(_view(None), self.processor)

    @property
    def _seen(self) -> set[int]:
        """What prompts with pictures hold and the one without does not."""
        return self._image_ids - self._text_ids

    @property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return self.processor.tokenizer

    @property
    def _roles(self) -> set[int]:
        """Ids with another job: a declared number that is one of them means something else."""
        names = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
        return {index for name in names if (index := getattr(self._tokenizer, name)) is not None}

    @cached_property
    def _of_processor(self) -> tuple[int, ...]:
        """The ids that the processor names, and those of the tokens that it or its tokenizer names."""
        fields: dict[str, Any] = dict(self._tokenizer.special_tokens_map) | vars(self.processor)
        fields |= {name: getattr(self.processor, name, None) for name in ("image_token_ids", "video_token_ids")}
        vocabulary = self._tokenizer.get_vocab()
        tokens = [v for k, v in fields.items() if k.endswith("_token") and _FIELD.search(k) and isinstance(v, str)]
        return (*_of_config(fields), *(vocabulary[token] for token in tokens if token in vocabulary))

    def _spelled(self, index: int) -> str:
        token = self._tokenizer.convert_ids_to_tokens(index)
        return token if isinstance(token, str) else ""

    def _is_mark(self, index: int) -> bool:
        """Whether an id is no part of ordinary text."""
        added, spelled = self._tokenizer.added_tokens_decoder.get(index), self._spelled(index)
        if added is None:
            return _FRAMED.fullmatch(spelled) is not None
        core = added.content.replace("\u2581", " ").strip()
        return added.special or (any(map(str.isalnum, core)) and not core.isalnum())


def pictured_rows(processor: ProcessorMixin, number: int) -> dict[str, Tensor]:
    """Return what a processor makes of a batch of equal prompts, each with a small picture."""
    return encode_prompts([_view(_SMALL)] * number, processor)


def _view(size: tuple[int, int] | None) -> View:
    """A prompt with a picture of this size, or without one."""
    pictures = () if size is None else (Picture.plain((90, 140, 60), size),)
    parts = [*({"type": "image"} for _ in pictures), {"type": "text", "text": _TEXT}]
    return View(({"role": "user", "content": parts},), pictures)


def _encoded(view: View, processor: ProcessorMixin) -> set[int]:
    return set(encode_prompts([view], processor)["input_ids"].flatten().tolist())


def _of_config(fields: Mapping[str, Any]) -> Iterator[int]:
    """The ids that fields named for pictures hold, of nested configs too."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _of_config(value)
        elif isinstance(name, str) and _IDS.search(name) and _FIELD.search(name.lstrip("_")) and "layer" not in name:
            listed: Iterable[Any] = value if isinstance(value, (list, tuple)) else [value]
            yield from (index for index in listed if type(index) is int and index >= 0)
