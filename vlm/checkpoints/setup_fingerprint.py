"""What a number depends on besides the weights: config, end ids, chat template, tokenizer and processor."""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin

# Fields of a config that say how it was saved or is run, not what is computed.
_NOT_THE_MODEL = {
    "_name_or_path", "architectures", "auto_map", "transformers_version", "transformers_weights", "dtype",
    "torch_dtype", "use_cache", "_attn_implementation", "attn_implementation", "_experts_implementation",
    "experts_implementation", "output_attentions", "output_hidden_states", "return_dict", "problem_type", "id2label",
    "label2id",
}  # fmt: skip
_RENDERED = ("bos_token", "eos_token")  # what chat templates name
_NOT_THE_PIXELS = {"video_processor", "processor_class", "image_processor_type"}


def setup_fingerprint(config: PreTrainedConfig, processor: ProcessorMixin, end_ids: Sequence[int]) -> str:
    """Return the sha256 (16 hex digits) over all but the weights that a number depends on.

    It is taken over the objects as they are loaded, so it does not depend on how files are laid out, and a checkpoint
    that is saved again keeps it. How a model is run (dtype, attention) is no part of it.
    """
    images: Any = getattr(processor, "image_processor", None)
    parts = {
        "config": _without(config.to_dict(), _NOT_THE_MODEL),
        "end_ids": sorted(end_ids),
        "chat_template": getattr(processor, "chat_template", None),
        "tokenizer": tokenizer_rules(processor.tokenizer),
        "rendered": {name: getattr(processor.tokenizer, name, None) for name in _RENDERED},
        "images": type(images).__name__,  # on PIL or on torchvision
        "processor": _without(processor.to_dict(), _NOT_THE_PIXELS),
    }
    text = json.dumps(parts, sort_keys=True, default=str, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without(value: Any, names: set[str]) -> Any:
    """A nested mapping without some of its fields, its keys as text."""
    if isinstance(value, Mapping):
        return {str(key): _without(inner, names) for key, inner in value.items() if key not in names}
    return [_without(inner, names) for inner in value] if isinstance(value, (list, tuple)) else value


def tokenizer_rules(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return how text becomes ids and back, as a nested mapping; each call sets padding and truncation itself."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        rules = {"vocabulary": tokenizer.get_vocab(), "files": _vocabulary_files(tokenizer)}
    else:
        rules = {k: v for k, v in json.loads(backend.to_str()).items() if k not in ("padding", "truncation")}
    return {"rules": rules, "cleans_up": getattr(tokenizer, "clean_up_tokenization_spaces", None)}


def _vocabulary_files(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Digests of the files that a tokenizer without a backend saves."""
    with tempfile.TemporaryDirectory() as folder:
        saved = tokenizer.save_vocabulary(folder) or ()
        return {Path(path).name: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in saved}
