"""Folders of training that cannot be resumed: each file of a run in turn is junk, also of a run without hashes."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.faults.inputs import Case, Pair
from tests.faults.inputs_checkpoints import BYTES, replaced
from train.held import MANIFEST

OWN = ("config.json", "metrics.jsonl", "held_out.json")
CHECKPOINT = ("config.json", "model.safetensors", "training.pt", MANIFEST, "pair.json", "tokenizer.json",
              "tokenizer_config.json", "processor_config.json", "chat_template.jinja")  # fmt: skip
FILES = (*OWN, *(f"last/{name}" for name in CHECKPOINT))
KINDS: dict[str, Callable[[bytes], bytes]] = {
    **{kind: (lambda whole, content=content: content) for kind, content in BYTES.items()},  # type: ignore[misc]
    "half": lambda whole: whole[: len(whole) // 2],
    "two bytes less": lambda whole: whole[:-2],
    "a byte other": lambda whole: bytes([whole[0] ^ 1]) + whole[1:],
}
STATES: dict[str, dict[str, Any]] = {
    "a step of text": {"step": "x"},
    "a step below 0": {"step": -1},
    "a step of many digits": {"step": 10**30},
    "a step of a fraction": {"step": 1.5},
    "an accuracy of text": {"best": "x"},
    "an accuracy of nan": {"best": float("nan")},
    "an optimizer that is a number": {"optimizer": 5},
    "an optimizer of nothing": {"optimizer": {}},
    "a strength of text": {"gamma": "x"},
    "a strength of a list": {"lambda_": [1]},
    "skipped steps of text": {"skipped_in_a_row": "x"},
    "a field too many": {"x": 5},
    "adapters that are a number": {"adapters": 5},
}


def cases() -> Iterator[Case]:
    """Yield every case of this module."""
    for name in FILES:
        for kind, change in KINDS.items():
            yield Case("file of training", f"{name}, {kind}", "train.__main__", _resumed(_changed(name, change)))
    for name in ("last/model.safetensors", "last/training.pt", "last/config.json", "last/tokenizer.json"):
        for kind, change in KINDS.items():
            words = _resumed(_unlisted, _changed(name, change))
            loads = kind == "a byte other" and name == "last/model.safetensors"
            yield Case("file of old training", f"{name}, {kind}", "train.__main__", words, loads)
    for kind, fields in STATES.items():
        yield Case("state of old training", kind, "train.__main__", _resumed(_unlisted, _stated(fields)))


def _resumed(*spoils: Callable[[Path], None]) -> Callable[[Pair], list[str]]:
    def prepare(pair: Pair) -> list[str]:
        shutil.copytree(_run(pair), "run", symlinks=True)
        for spoil in spoils:
            spoil(Path("run"))
        return [*_flags(pair, "run"), "--resume"]

    return prepare


@cache
def _run(pair: Pair) -> Path:
    """Train for two steps, the checkpoint before the last."""
    from train.__main__ import main

    folder = Path(tempfile.mkdtemp(dir=pair.student.parent)) / "run"
    assert main(_flags(pair, str(folder))) == 0
    return folder


def _flags(pair: Pair, out: str) -> list[str]:
    words = ["--student", str(pair.student), "--teacher", str(pair.teacher), "--out", out, "--device", "cpu"]
    words += ["--batch", "2", "--steps", "2", "--held-out", "2", "--max-response", "2", "--allow-truncated"]
    return [*words, "--evaluate-every", "0", "--geometry-every", "0"]


def _changed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda run: replaced(run / name, change((run / name).read_bytes()))


def _unlisted(run: Path) -> None:
    """Make the checkpoint one of an earlier version, which has no hashes."""
    import torch

    (run / "last" / MANIFEST).unlink()
    path = run / "last" / "training.pt"
    state = torch.load(path, weights_only=True)
    del state["listed"]
    torch.save(state, path)


def _stated(fields: dict[str, Any]) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        import torch

        path = run / "last" / "training.pt"
        torch.save(torch.load(path, weights_only=True) | fields, path)

    return spoil
