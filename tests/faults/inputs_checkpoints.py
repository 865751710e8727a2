"""Checkpoints that cannot be loaded: configs, tokenizers, templates, processors, weights."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.inputs import Case, Pair

HUGE = 10**9
CONFIGS: dict[str, Any] = {
    "model_type": ("absent", None, 5, "", "llama", "no_such", "\x1b[31m", ["qwen3_vl"], "../../x", "qwen2_vl"),
    "text_config": ("absent", None, 5, [], {}, "x", {"model_type": "no_such"}),
    "vision_config": ("absent", None, 5, [], {}, "x"),
    "text_config.hidden_size": (None, 0, -8, HUGE, 10**30, "24", 24.5, [24], {}, True, 25, 48),
    "text_config.num_hidden_layers": (None, 0, -1, HUGE, 10**30, "2", [2], {}, 1, 3, 1000),
    "text_config.num_attention_heads": (None, 0, -1, HUGE, "2", [], 3, 5),
    "text_config.num_key_value_heads": (0, -1, HUGE, "1", 3),
    "text_config.head_dim": (0, -32, HUGE, "32", 31, 1),
    "text_config.intermediate_size": (0, -1, 10**12, "32", None, 33),
    "text_config.vocab_size": (None, 0, -1, 10**12, "192", 10, 191, 193),
    "text_config.hidden_act": (None, "no_such", 5, [], ""),
    "text_config.max_position_embeddings": (None, 0, -1, "512", 1, 3, 10**30),
    "text_config.rms_norm_eps": ("x", None, float("nan"), float("inf"), []),
    "text_config.rope_parameters": (None, 5, [], "x", {"rope_type": "no_such"}, {"rope_theta": "x"}),
    "text_config.tie_word_embeddings": (False, "x", []),
    "text_config.layer_types": (5, "x", ["no_such"] * 2),
    "tie_word_embeddings": ("x", []),
    "image_token_id": ("absent", None, "5", -1, 10**30, 1.5, [], 190, 2),
    "vision_config.depth": (None, 0, -1, HUGE, "2", 3),
    "vision_config.hidden_size": (0, -1, "16", 10**12, 17, 32),
    "vision_config.num_heads": (0, -1, 3, "4", HUGE),
    "vision_config.patch_size": (0, -1, "12", 8, 10**12),
    "vision_config.spatial_merge_size": (0, -1, "2", 3, HUGE),
    "vision_config.out_hidden_size": (0, -1, "24", 23, 10**12),
    "vision_config.num_position_embeddings": (0, -1, "16", 10**12, 17),
    "vision_config.deepstack_visual_indexes": (None, 5, ["x"], [10**9], "x"),
    "vision_config.hidden_act": ("no_such", 5),
    "vision_config.in_channels": (0, -3, "3", 4),
    "dtype": (5, "no_such", [], "float8_no_such"),
    "quantization_config": (5, "x", {}, {"quant_method": "no_such"}, {"quant_method": "gptq", "bits": "x"}),
    "transformers_weights": (5, "../x.safetensors", "/etc/passwd", "a.bin", "a\0.safetensors"),
    "auto_map": ({"AutoConfig": "code.Config"}, 5),
    "architectures": (5, ["NoSuch"]),
}
NOT_SEEN = {"text_config.tie_word_embeddings", "tie_word_embeddings", "dtype", "architectures", "auto_map",
            "text_config.rope_parameters", "image_token_id", "text_config.rms_norm_eps",
            "text_config.max_position_embeddings", "text_config.layer_types"}  # fmt: skip
"""Fields whose wrong values transformers may pass over, with the same model as outcome."""
BYTES = {
    "nothing": b"",
    "binary": bytes(range(256)) * 4,
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a list": b"[]",
    "null": b"null",
    "an empty object": b"{}",
    "a deep list": b"[" * 100_000,
    "a deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "cut off": b'{"model_type": "qwen3',
}
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "processor_config.json", "generation_config.json",
         "model.safetensors.index.json", "preprocessor_config.json", "adapter_config.json", "pair.json")  # fmt: skip
TEMPLATES = {
    "it raises": "{{ raise_exception('no \x1b[31m way') }}",
    "it divides by 0": "{{ 1 / 0 }}",
    "it asks an attribute of nothing": "{{ nothing.at.all }}",
    "it calls a number": "{{ 5() }}",
    "an index beyond": "{{ messages[99].content }}",
    "it does not end": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a range that is too long": "{% for a in range(10**12) %}{% endfor %}",
    "a text that is too large": "{{ 'a' * 10**11 }}",
    "a list that is too large": "{{ range(10**9) | list | length }}",
    "it doubles a text without end": "{% set n = namespace(x='ab') %}{% for _ in range(99) %}{% set n.x = n.x ~ n.x %}"
    "{% endfor %}{{ n.x }}",
    "it collects without end": "{% set n = namespace(x=[]) %}{% for _ in range(99) %}"
    "{% set n.x = n.x + [n.x] * 10**7 %}{% endfor %}",
    "it makes too much text": "{% for _ in range(99999) %}words and words{% endfor %}",
    "a wide format": "{{ '%999999999d' | format(5) }}",
    "a macro without an end": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "broken syntax": "{% for",
    "an unknown tag": "{% nothing %}",
    "an unknown filter": "{{ messages | nothing }}",
    "nothing": "",
    "a constant": "words",
    "no picture": "{% for message in messages %}{{ message.role }}{% endfor %}",
    "it reads a file": "{% include '/etc/passwd' %}",
    "it reaches for code": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "half of a character": "{{ '\\ud800' }}",
    "binary": None,
}


def cases() -> Iterator[Case]:
    """Yield every case of this module."""
    for field, values in CONFIGS.items():
        for number, value in enumerate(values):
            spoil = field_of("config.json", field, value)
            side = "student" if number % 2 else "teacher"
            yield Case("config", f"{field}, {value!r:.40}", "probes.vds", spoilt(spoil, side), field in NOT_SEEN)
    for field in ("text_config", "vision_config", "text_config.num_hidden_layers", "text_config.hidden_size"):
        for value in CONFIGS[field]:
            plan = _planned(field_of("config.json", field, value))
            yield Case("config of a plan", f"{field}, {value!r:.40}", "probes.plan", plan, may_pass=True)
    for name in FILES:
        for kind, content in BYTES.items():
            optional = name in ("generation_config.json", "preprocessor_config.json", "processor_config.json")
            empty = kind == "an empty object" and name in (*FILES[1:5], "preprocessor_config.json")
            case = f"{name}, {kind}"
            words = (_unpaired if name == "pair.json" else spoilt)(_written(name, content))
            yield Case("file of a checkpoint", case, "probes.vds", words, may_pass=optional or empty)
    for kind, text in TEMPLATES.items():
        content = bytes(range(128, 256)) if text is None else text.encode()
        yield Case("chat template", kind, "probes.vds", spoilt(_written("chat_template.jinja", content)))
    for name, spoil in _weights().items():
        yield Case("weights", name, "probes.vds", spoilt(spoil, "teacher"))
    for name, spoil in _tokenizers().items():
        yield Case("tokenizer", name, "probes.vds", spoilt(spoil), may_pass=True)


def copied(folder: Path, name: str = "spoilt") -> Path:
    """Copy a checkpoint by links to its files; a file that is written again is another."""
    return Path(shutil.copytree(folder, name, copy_function=os.link))


def replaced(path: Path, content: bytes) -> None:
    """Write a file in the place of a link."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def spoilt(spoil: Callable[[Path], None], side: str = "student") -> Callable[[Pair], list[str]]:
    """Prepare a measurement whose student, or teacher, is spoilt."""

    def prepare(pair: Pair) -> list[str]:
        spoil(copied(getattr(pair, side)))
        flags = pair.flags
        flags[0 if side == "student" else 2] = "spoilt"
        return flags

    return prepare


def _unpaired(spoil: Callable[[Path], None]) -> Callable[[Pair], list[str]]:
    """Prepare a measurement whose student names its teacher itself."""
    prepare = spoilt(spoil)
    return lambda pair: [word for word in prepare(pair) if word not in ("--teacher", str(pair.teacher))]


def _planned(spoil: Callable[[Path], None]) -> Callable[[Pair], list[str]]:
    def prepare(pair: Pair) -> list[str]:
        spoil(copied(pair.student))
        return ["spoilt", "--teacher", str(pair.teacher), "--limit", "4", "--max-response", "2"]

    return prepare


def field_of(name: str, field: str, value: Any) -> Callable[[Path], None]:
    """Put a value in the place of a field of a JSON file, or leave the field out where it is "absent"."""

    def spoil(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_bytes())
        *outer, last = field.split(".")
        inner = content
        for part in outer:
            inner = inner[part]
        inner[last] = value
        if value == "absent":
            del inner[last]
        replaced(path, json.dumps(content).encode())

    return spoil


def _written(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: replaced(folder / name, content)


def _weights() -> dict[str, Callable[[Path], None]]:
    from tests.faults.inputs_weights import WEIGHTS

    return WEIGHTS


def _tokenizers() -> dict[str, Callable[[Path], None]]:
    """A tokenizer without each of its parts in turn, and with each as a number."""

    def without(part: str, value: Any) -> Callable[[Path], None]:
        def spoil(folder: Path) -> None:
            path = folder / "tokenizer.json"
            content = json.loads(path.read_bytes())
            content[part] = value
            replaced(path, json.dumps(content).encode())

        return spoil

    parts = ("model", "added_tokens", "pre_tokenizer", "decoder", "normalizer", "post_processor", "version")
    return {f"{part} is {value!r}": without(part, value) for part in parts for value in (None, 5, {}, [1])}
