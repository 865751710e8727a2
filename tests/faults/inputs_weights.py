"""Files of weights that are broken, or are not those of the config."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

NAME = "model.safetensors"


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        content = (folder / NAME).read_bytes()
        (folder / NAME).unlink()
        (folder / NAME).write_bytes(change(content))

    return spoil


def _tensors(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        from safetensors.torch import load, save_file

        tensors = load((folder / NAME).read_bytes())
        change(tensors)
        (folder / NAME).unlink()
        save_file(tensors, folder / NAME, metadata={"format": "pt"})

    return spoil


def _index(weight_map: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / NAME).rename(folder / "part.safetensors")
        (folder / f"{NAME}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))

    return spoil


def _linked(folder: Path) -> None:
    (folder / NAME).unlink()
    (folder / NAME).symlink_to("nowhere")


def _filled(value: float) -> Callable[[dict[str, Any]], None]:
    def change(tensors: dict[str, Any]) -> None:
        first = sorted(tensors)[0]
        tensors[first] = tensors[first] * 0 + value

    return change


def _head(content: dict[str, Any]) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


WEIGHTS: Final[dict[str, Callable[[Path], None]]] = {
    "gone": lambda folder: (folder / NAME).unlink(),
    "a link to nowhere": _linked,
    "nothing": _bytes(lambda whole: b""),
    "text": _bytes(lambda whole: b"words"),
    "cut in half": _bytes(lambda whole: whole[: len(whole) // 2]),
    "cut in the head": _bytes(lambda whole: whole[:40]),
    "a byte too many": _bytes(lambda whole: whole + b"\0"),
    "a head of 2^63 bytes": _bytes(lambda whole: struct.pack("<Q", 2**63 - 1) + whole[8:]),
    "a head of nothing": _bytes(lambda whole: struct.pack("<Q", 0)),
    "an empty head": _bytes(lambda whole: _head({})),
    "a deep head": _bytes(lambda whole: struct.pack("<Q", 9000) + b'{"a":' * 1800),
    "a huge shape": _bytes(
        lambda whole: _head({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}) + b"\0" * 4
    ),
    "a pickle": _bytes(lambda whole: b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR."),
    "a tensor less": _tensors(lambda tensors: tensors.pop(sorted(tensors)[0])),
    "another name": _tensors(lambda tensors: tensors.update({"x\x1b[31m": tensors.pop(sorted(tensors)[0])})),
    "nan": _tensors(_filled(float("nan"))),
    "inf": _tensors(_filled(float("inf"))),
    "-inf": _tensors(_filled(float("-inf"))),
    "another shape": _tensors(lambda t: t.update({sorted(t)[0]: t[sorted(t)[0]].reshape(-1)[:3].clone()})),
    "an index of no object": _index(5),
    "an index of numbers": _index({"a": 5}),
    "an index of nothing": _index({}),
    "an index that points above": _index({"a": "../../x.safetensors"}),
    "an index that points to the root": _index({"a": "/tmp/x.safetensors"}),
    "an index of another format": _index({"a": "pytorch_model.bin"}),
    "an index of a missing file": _index({"a": "none.safetensors"}),
    "an index with NUL": _index({"a": "a\0.safetensors"}),
    "an index with half of a character": _index({"a": "\ud800.safetensors"}),
    "an index with signs": _index({"a": "\x1b[31m.safetensors"}),
    "an index of a file that links out": _index({"a": "part.safetensors", "b": "out.safetensors"}),
}
"""By name, what spoils the weights of a folder."""
