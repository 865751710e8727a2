"""Malformed inputs: what a case is, how it is run as a command, and what the command must do with it.

A command refuses an input with exit code 2 and one line; a run that fails for another reason ends with 1 and one line.
No traceback, no control sign and no file of its own may be left.
"""

import importlib
import io
import os
import re
import traceback
from collections.abc import Callable, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

_NOTES = re.compile(r"(note|warning|prompts|models?|rollouts|scoring|checkpoint \d+ of \d+|before|after): ")
_UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_WAY_OUT = re.compile(r"[:;,(] ?\S+")


@dataclass(frozen=True)
class Pair:
    """The folders of a sound student and its teacher, which no case may change."""

    student: Path
    teacher: Path

    @property
    def flags(self) -> list[str]:
        """A short measurement of both."""
        return [str(self.student), "--teacher", str(self.teacher), "--limit", "4", "--max-response", "2", "--bins", "2"]


@dataclass(frozen=True)
class Case:
    """A malformed input.

    kind, name: which it is; `name` differs from that of every other case of its kind.
    command: the module that is run.
    prepare: writes the input into the current folder and returns the words of the command.
    may_pass: whether the command may take the input for a sound one.
    """

    kind: str
    name: str
    command: str
    prepare: Callable[[Pair], Sequence[str]]
    may_pass: bool = False

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code, what it printed, and the files that it left, changed or removed."""

    code: int | None
    out: str
    err: str
    left: tuple[str, ...]

    @property
    def faults(self) -> list[str]:
        """What is wrong with how an input was refused."""
        lines = [line for line in self.err.split("\n") if line and not _NOTES.match(line)]
        said = next((line for line in lines if line.startswith(("error: ", "stopped: "))), "")
        checks = {
            f"exit code {self.code}": self.code not in (1, 2),
            "a traceback": "Traceback" in self.err,
            f"{len(lines)} lines": len(lines) != 1,
            "no line of ours": not said,
            "a control sign": bool(_UNSEEN.search(self.err + self.out)),
            "a line that is too long": len(said) > 1500,
            "no way out": not _WAY_OUT.search(said.partition(" ")[2]),
            f"files left: {', '.join(self.left[:3])}": bool(self.left),
        }
        return [fault for fault, holds in checks.items() if holds]


def run(case: Case, pair: Pair, folder: Path) -> Outcome:
    """Run a case in an empty folder, in this process."""
    folder.mkdir(parents=True)
    with chdir(folder):
        words = case.prepare(pair)
        before = _files()
        code, out, err = in_process(case.command, words)
        after = _files()
        left = tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))
    return Outcome(code, out, err, left)


def in_process(command: str, words: Sequence[str]) -> tuple[int | None, str, str]:
    """Run a command as its own process would; return its exit code, None after a traceback, and what it printed."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code: int | None = None
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = importlib.import_module(command).main(list(words))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception:
            traceback.print_exc()
    return code, *(stream.buffer.getvalue().decode() for stream in (out, err))


def _files() -> dict[str, tuple[int, ...]]:
    """Return what tells each file below the current folder from a new or changed one."""
    paths = (os.path.join(where, name) for where, _, names in os.walk(".") for name in names)
    return {path: (seen.st_ino, seen.st_size, seen.st_mtime_ns) for path in paths for seen in [os.lstat(path)]}
