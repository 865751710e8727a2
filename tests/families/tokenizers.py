"""What every family needs: a tokenizer trained on a few lines, a processor with its video part or without, sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, ProcessorMixin
from transformers.utils import is_torchvision_available

from vlm.checkpoints.processors import without_video

CONTEXT = 4096
_LINES = [
    "user assistant system model User: Assistant: USER: ASSISTANT: [INST] [/INST] image",
    "What colour is the square? How many dots are there? Which picture is larger, the first or the second?",
    "What is 3 + 4? Write \\boxed{7} or \\boxed{red}. You are a helpful assistant, and the answer is short.",
    "red green blue yellow white black one two three four five six seven eight nine ten",
]


@dataclass(frozen=True)
class Size:
    """How wide a model is and which random weights it has; a teacher is wider than its student."""

    width: int
    seed: int


STUDENT, TEACHER = Size(32, 1), Size(64, 2)


def tokenizer(
    marks: Sequence[str],
    *,
    eos: str,
    pad: str,
    bos: str | None = None,
    writes_bos: bool = False,
    named: dict[str, str] | None = None,
    plain: Sequence[str] = (),
) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer.

    marks: special tokens beside those with a role.
    named: tokens that the tokenizer has an attribute for; they are marks too.
    plain: tokens that are added, and not special.
    writes_bos: whether a text is begun with the beginning token.
    """
    named = named or {}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    raw.train_from_iterator(
        _LINES * 3, trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    )
    special = dict.fromkeys([pad, *([bos] if bos else []), eos, *marks, *named.values()])
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    raw.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain])
    if bos and writes_bos:
        begin = (bos, raw.token_to_id(bos))
        raw.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[begin]
        )
    roles: dict[str, Any] = {"eos_token": eos, "pad_token": pad} | ({"bos_token": bos} if bos else {})
    if named:
        roles["extra_special_tokens"] = named
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=CONTEXT, **roles)


def ids(tok: PreTrainedTokenizerFast, *tokens: str) -> list[int]:
    """Return the ids of tokens that the vocabulary holds."""
    vocabulary = tok.get_vocab()
    return [vocabulary[token] for token in tokens]


def fields(tok: PreTrainedTokenizerFast, **tokens: str) -> dict[str, int]:
    """Return config fields from the tokens that they name."""
    return dict(zip(tokens, ids(tok, *tokens.values()), strict=True))


def rows(tok: PreTrainedTokenizerFast, padding: int = 0) -> int:
    """Return the rows of a head for this tokenizer, and some that stand for no token."""
    return max(tok.get_vocab().values()) + 1 + padding


def text(size: Size, tok: PreTrainedTokenizerFast, padding: int = 0, **more: Any) -> dict[str, Any]:
    """Return the config of a text model of two layers; `head_dim=None` among `more` leaves that out."""
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": size.width // 2}
    found = {
        "vocab_size": rows(tok, padding),
        "hidden_size": size.width,
        "intermediate_size": 2 * size.width,
        "num_hidden_layers": 2,
        "max_position_embeddings": CONTEXT,
        "pad_token_id": tok.pad_token_id,
        "bos_token_id": tok.bos_token_id,
        "eos_token_id": tok.eos_token_id,
        **heads,
        **more,
    }
    return {name: value for name, value in found.items() if (name, value) != ("head_dim", None)}


def vision(**more: Any) -> dict[str, Any]:
    """Return the config of a vision tower of two layers."""
    return {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, **more}


def processor(kind: str, video: str | None = None, **parts: Any) -> ProcessorMixin:
    """Return a processor of transformers' class `kind`.

    video: class of its video part, which is left out where torchvision is missing.
    """
    made: Any = getattr(transformers, kind)
    if video is None:
        return made(**parts)
    if is_torchvision_available():
        return made(video_processor=getattr(transformers, video)(), **parts)
    return without_video(made)(video_processor=None, **parts)
