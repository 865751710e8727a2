"""Prompts that no command can read: rows, files and pictures."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from tests.faults.inputs import Case, Pair

FIELDS = ("problem", "answer", "task", "id", "options", "dependency", "images", "messages", "chat_template_kwargs")
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "a number": 5,
    "nan": float("nan"),
    "inf": float("inf"),
    "1e400": 10**400,
    "half of a character": "\ud800",
    "control signs": "\x1b[31m\x00\x07",
    "NUL": "a\0b",
    "an empty text": "",
    "blanks": " \n",
    "an empty list": [],
    "a list of lists": [[["a"]]],
    "a list of nulls": [None, None],
    "an object": {"a": 1},
    "an object of objects": {"a": {"b": {"c": []}}},
    "half of a character in a list": ["\udcff"],
    "half of a character as key": {"\ud800": "a"},
    "a list of numbers": [1, 2.5],
    "a mixed list": [1, "a", None, {}],
}
ENTRIES: dict[str, Any] = {
    "a number": 5,
    "true": True,
    "an object": {},
    "bytes that are a number": {"bytes": 5},
    "bytes that are text": {"bytes": "iVBORw0KGgo"},
    "bytes that are a list": {"bytes": [1, 2]},
    "bytes that are an object": {"bytes": {"a": 1}},
    "a path that is a number": {"path": 5},
    "a path that is a list": {"path": ["a.png"]},
    "a path that is an object": {"path": {}},
    "a URL that is an object": {"url": {"url": "x"}},
    "nulls": {"bytes": None, "path": None},
    "empty bytes": {"bytes": ""},
    "a list": ["a.png"],
    "NUL in a path": "a\0.png",
    "half of a character in a path": "\ud800.png",
    "a path that is too long": "x" * 5000 + ".png",
    "a path above": "../../../../etc/passwd",
    "a folder": ".",
    "a device": "/dev/zero",
    "another scheme": "file:///etc/passwd",
    "a URL": "http://127.0.0.1:9/x.png",
    "a broken URL": "http://[::1/x.png",
    "a data URI of nothing": "data:image/png;base64,",
    "a data URI that is broken": "data:image/png;base64,!!!!",
    "control signs": "\x1b[31mred\x07.png",
    "text": {"text": "a"},
}
TEXTS: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "a deep list": b"[" * 100_000,
    "a deep row": b'{"problem": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a deep object": b'{"problem": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
    "a number": b"5",
    "null": b"null",
    "a text": b'"words"',
    "binary": bytes(range(256)),
    "UTF-16": '{"problem": "a"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"problem": "a"}\n'.encode("utf-16-le"),
    "Latin-1": '{"problem": "caf\u00e9"}'.encode("latin-1"),
    "a name twice": b'{"problem": "a", "problem": "b"}',
    "no question": b'{"words": "a"}',
    "a long number": b'{"problem": "a", "answer": ' + b"9" * 5000 + b"}",
    "NUL bytes": b"\0" * 100,
    "half of a character as a name": b'{"problem": "a", "\\ud800": 1}',
    "control signs in a name": b'{"\\u001b[31m": "a"}',
    "two rows of one id": b'{"problem": "a", "id": "x\\u001b[2J"}\n{"problem": "b", "id": "x\\u001b[2J"}',
    "a deep text of options": json.dumps({"problem": "a", "options": "[" * 5000}).encode(),
    "a deep text of messages": json.dumps({"messages": "[{" + "[" * 5000}).encode(),
}
MESSAGES: dict[str, Any] = {
    "a role that is a number": [{"role": 5, "content": "a"}],
    "a role that is a list": [{"role": ["user"], "content": "a"}],
    "content that is a number": [{"role": "user", "content": 5}],
    "content that is true": [{"role": "user", "content": True}],
    "a part that is a number": [{"role": "user", "content": [5]}],
    "a type that is a list": [{"role": "user", "content": [{"type": ["text"], "text": "a"}]}],
    "a type that is an object": [{"role": "user", "content": [{"type": {"a": 1}, "text": "a"}]}],
    "a text that is a list": [{"role": "user", "content": [{"type": "text", "text": ["a"]}]}],
    "an image that is a number": [{"role": "user", "content": [{"type": "image", "image": 5}]}],
    "an image that is a list": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": [1]}}]}],
    "half of a character": [{"role": "user", "content": "\ud800"}],
    "half of a character as role": [{"role": "\ud800", "content": "a"}],
    "only an answer": [{"role": "assistant", "content": "a"}],
    "only a system": [{"role": "system", "content": "a"}],
    "keys of two kinds": [{"role": "user", "a": 1}],
    "a message in a list": [[{"role": "user", "content": "a"}]],
}  # fmt: skip


def picture() -> bytes:
    """Return a sound PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (48, 48), (200, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def row(**fields: Any) -> dict[str, Any]:
    """Return a sound row with a picture, some of its fields replaced."""
    encoded = "data:image/png;base64," + base64.b64encode(picture()).decode()
    return {"problem": "which colour has the shape at a1 ?", "images": [encoded], **fields}


def cases() -> Iterator[Case]:
    """Yield every case of this module."""
    for field in FIELDS:
        for name, value in VALUES.items():
            fields = {field: value} if field != "messages" else {"problem": None, "messages": value}
            yield Case("cell", f"{field}, {name}", "probes.vds", rows(row(**fields)), may_pass=True)
    for name, entry in ENTRIES.items():
        yield Case("picture", name, "probes.vds", rows(row(images=[entry])))
        part = {"role": "user", "content": [{"type": "image", "image": entry}, {"type": "text", "text": "a"}]}
        messages = rows({"messages": [part]})
        yield Case("picture", f"{name}, in a message", "probes.vds", messages)
    for name, value in MESSAGES.items():
        yield Case("message", name, "probes.vds", rows({**row(messages=value), "problem": None}))
    for name, content in TEXTS.items():
        yield Case("file of prompts", f"{name}, JSON lines", "probes.vds", file("x.jsonl", content))
        yield Case("file of prompts", f"{name}, JSON", "probes.vds", file("x.json", content))
    for name, content in _cut_pictures().items():
        entry = "data:image/png;base64," + base64.b64encode(content).decode()
        yield Case("picture", name, "probes.vds", rows(row(images=[entry])))
    for name, content in {"no parquet": b"PAR1", "text": b"words", "nothing": b"", "a head": b"PAR1" * 9}.items():
        yield Case("parquet", name, "probes.vds", file("x.parquet", content))
    for name, spoil in _spoilt().items():
        yield Case("parquet", name, "probes.vds", file("x.parquet", spoil(parquet())), may_pass=True)
    for name, words in {"a folder": ".", "a device": "/dev/null", "a name with signs": "\x1b[31m;x.jsonl"}.items():
        yield Case("file of prompts", name, "probes.vds", lambda pair, w=words: [*pair.flags, "--prompts", w])


def parquet(n: int = 6) -> bytes:
    """Return a sound file of prompts with pictures."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    buffer = io.BytesIO()
    made = [{"problem": f"which colour has the shape at a{k} ?", "image": {"bytes": picture(), "path": None}} for k in
            range(n)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(made), buffer)
    return buffer.getvalue()


def rows(*made: Any) -> Callable[[Pair], list[str]]:
    """Prepare a file of these rows and a sound one behind them."""
    text = "\n".join(json.dumps(one) for one in (*made, row(id="sound")))
    return file("x.jsonl", text.encode())


def file(name: str, content: bytes) -> Callable[[Pair], list[str]]:
    """Prepare a file of prompts."""

    def prepare(pair: Pair) -> list[str]:
        Path(name).write_bytes(content)
        return [*pair.flags, "--prompts", name]

    return prepare


def _cut_pictures() -> dict[str, bytes]:
    whole = picture()
    return {"nothing": b"", "a head alone": whole[:20], "cut off": whole[:-60], "noise": bytes(range(256)),
            "a huge size": whole[:16] + b"\x7f\xff\xff\xff" * 2 + whole[24:]}  # fmt: skip


def _spoilt() -> dict[str, Callable[[bytes], bytes]]:
    def flipped(at: float) -> Callable[[bytes], bytes]:
        def spoil(whole: bytes) -> bytes:
            start = int(len(whole) * at)
            return whole[:start] + bytes(255 - byte for byte in whole[start : start + 8]) + whole[start + 8 :]

        return spoil

    spoils = {f"eight bytes at {at} %": flipped(at / 100) for at in (1, 5, *range(10, 100, 10), 95, 99)}
    return spoils | {"cut in half": lambda whole: whole[: len(whole) // 2]}
