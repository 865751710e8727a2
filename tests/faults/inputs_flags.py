"""Flags and config files that no command can take."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

from probes.settings import ANALYZER_OPTIONS, UnitOptions
from tests.faults.inputs import Case, Pair
from train.flags import Flags

NUMBERS = ("inf", "-inf", "nan", "1e400", "9" * 30, "-" + "9" * 30, "1e30", "0x10", "", " ", "\u0661e", "1,5", "true")
TEXTS = ("a\0b", "a\udce9b", "\ud800")
CONFIGS = {
    "binary": bytes(range(256)),
    "UTF-16": "limit: 4\n".encode("utf-16"),
    "UTF-16 without a mark": "limit: 4\n".encode("utf-16-le"),
    "Latin-1": "prompts: caf\u00e9\n".encode("latin-1"),
    "a list": b"- 1\n- 2\n",
    "a number": b"5\n",
    "a text": b"only words\n",
    "an unknown flag": b"no_such_flag: 1\n",
    "a flag of another kind": b"limit: [1, 2]\n",
    "a flag that is an object": b"limit: {a: 1}\n",
    "null for a number": b"bins: null\n",
    "inf for a number": b"limit: .inf\n",
    "nan for a number": b"limit: .nan\n",
    "NUL in a path": b'prompts: "a\\0b"\n',
    "half of a character": b'prompts: "\\ud800"\n',
    "30 digits": b"seed: " + b"9" * 30 + b"\n",
    "a tag of Python": b"limit: !!python/object/apply:os.getcwd []\n",
    "a bracket that is not closed": b"limit: [1, 2\n",
    "a tab": b"limit:\t\t- 4\n\tbins: 2\n",
    "a deep list": b"limit: " + b"[" * 3000 + b"]" * 3000 + b"\n",
    "a deep object": b"limit: " + b"{a: " * 2000 + b"1" + b"}" * 2000 + b"\n",
    "references that grow": b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(5)
    ),
    "a reference to itself": b"limit: &a [*a]\n",
    "a reference to nothing": b"limit: *nowhere\n",
    "several documents": b"limit: 4\n---\nlimit: 5\n",
    "a number as key": b"5: 4\n",
    "null as key": b"null: 4\n",
    "an object as key": b"{a: 1}: 4\n",
    "NUL bytes": b"\0\0\0\0",
    "a broken mark": b"\xff\xfe\xff",
}  # fmt: skip
COMMANDS = ("probes.vds", "train.__main__", "probes.plan")
_BRIEF = {"probes.vds": ["--max-response=2"], "train.__main__": ["--steps=1", "--max-response=2"], "probes.plan": []}


def cases() -> Iterator[Case]:
    """Yield every case of this module."""
    yield from _numbers()
    yield from _texts()
    for command in COMMANDS:
        for name, content in CONFIGS.items():
            yield Case("config file", f"{command}, {name}", command, _config(command, content))
        for name, path in {"missing": "none.yaml", "a folder": ".", "too long": "x" * 300, "NUL": "a\0b"}.items():
            yield Case("config file", f"{command}, {name}", command, _words("--config", path))


def _numbers() -> Iterator[Case]:
    groups = {"probes.angles": (*ANALYZER_OPTIONS, UnitOptions), "train.__main__": (Flags,)}
    for command, classes in groups.items():
        for group in classes:
            hints = get_type_hints(group)
            for f in fields(group):
                if _is_number(hints[f.name]):
                    flag = "--" + f.name.rstrip("_").replace("_", "-")
                    for text in NUMBERS:
                        words = _shown(command, f"{flag}={text}")
                        yield Case("number", f"{command} {flag} {text!r}", command, words, may_pass=True)


def _texts() -> Iterator[Case]:
    flags = {
        "probes.vds": ("--prompts", "--teacher", "--out", "--rollouts", "--system-prompt", "--columns", "--image-root",
                       "--split", "--device", "--attention", "--parameters", "--chat-template-args", "--teacher-url"),
        "train.__main__": ("--student", "--teacher", "--prompts", "--out", "--held-out-prompts", "--rollouts"),
        "figures.__main__": ("", "--out", "--scope"),
        "probes.plan": ("--seen", "--prompts"),
    }  # fmt: skip
    for command, names in flags.items():
        for name in names:
            for text in TEXTS:
                words = _words(text) if not name else _texted(command, f"{name}={text}")
                yield Case("text of a flag", f"{command} {name} {text!r}", command, words)


def _is_number(kind: object) -> bool:
    if get_origin(kind) is not None:
        return any(_is_number(one) for one in get_args(kind))
    return isinstance(kind, type) and issubclass(kind, (int, float)) and kind is not bool


def _words(*words: str) -> Callable[[Pair], list[str]]:
    return lambda pair: list(words)


def _shown(command: str, word: str) -> Callable[[Pair], list[str]]:
    """Words that show a prompt, should the command take the number."""
    student = [] if command == "probes.angles" else ["--student"]
    return lambda pair: [*student, str(pair.student), "--show-prompt", word]


def _texted(command: str, word: str) -> Callable[[Pair], list[str]]:
    def prepare(pair: Pair) -> list[str]:
        if command == "train.__main__":
            sides = ["--student", str(pair.student), "--teacher", str(pair.teacher), "--steps", "1"]
            return [*sides, "--max-response", "2", "--batch", "2", "--held-out", "2", word]
        if command == "figures.__main__":
            return [".", word]
        return [*pair.flags, word]

    return prepare


def _config(command: str, content: bytes) -> Callable[[Pair], list[str]]:
    def prepare(pair: Pair) -> list[str]:
        Path("x.yaml").write_bytes(content)
        return [*_BRIEF[command], "--config", "x.yaml"]

    return prepare
