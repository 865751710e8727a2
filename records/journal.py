"""The journal of a training run: `metrics.jsonl`, one JSON object for each line, written as the run goes.

The field `kind` names one of three kinds of line; `records.journal_lines` has their fields. A line's `step` is the
number of updates before it. Within a step the evaluation comes first, then the geometry, then the step itself:

    {"version": 1, "kind": "evaluation", "step": 0, ...}
    {"version": 1, "kind": "step", "step": 0, ...}
    {"version": 1, "kind": "step", "step": 1, ...}

Numbers that are not finite, and means of no tokens, are null. Divergences are in nats per token, times in seconds.
A run that continues from a checkpoint at step k drops the lines of step k and later, and writes them again.
"""

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, Final

from cli.foreign_json import read_json
from cli.shell import run_module
from records.errors import JournalError
from records.files import write_whole
from records.fingerprint import plain
from records.journal_lines import EvaluationLine, GeometryLine, Journal, Line, StepLine

JOURNAL: Final = "metrics.jsonl"
JOURNAL_VERSION: Final = 1


_KINDS: dict[str, type[Line]] = {kind.kind: kind for kind in (EvaluationLine, GeometryLine, StepLine)}
_ORDER = list(_KINDS)  # within a step


class JournalWriter:
    """Append lines to the journal of a run that stands at `step`; later lines are dropped.

    Raises:
        JournalError: the journal is broken or has a gap before `step`. A torn last line is dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / JOURNAL
        self.lines = _before(self.path, step) if self.path.is_file() else []
        if (steps := sum(isinstance(line, StepLine) for line in self.lines)) < step:
            raise JournalError(f"`{self.path}` ends after {steps} steps, the checkpoint stands at {step}: start again")
        write_whole(self.path, lambda part: _write(part, self.lines))

    def append(self, line: Line) -> None:
        """Write a line through to the disk."""
        _check_order(self.path, [*self.lines[-1:], line], first=not self.lines)
        self.lines.append(line)
        with self.path.open("a", encoding="utf-8") as journal:
            journal.write(_text(line))
            journal.flush()
            os.fsync(journal.fileno())


def read_journal(folder: str | Path) -> Journal:
    """Read the journal in a run's folder.

    Raises:
        JournalError: there is none, or it is broken or has a gap; the line is named.
    """
    path = Path(folder) / JOURNAL
    if not path.is_file():
        raise JournalError(f"`{folder}` holds no {JOURNAL}: write one with `{run_module('train', '--out', folder)}`")
    lines = [_parse(path, number, text) for number, text in _numbered(path)]
    _check_order(path, lines)
    return Journal(
        [line for line in lines if isinstance(line, StepLine)],
        [line for line in lines if isinstance(line, EvaluationLine)],
        [line for line in lines if isinstance(line, GeometryLine)],
    )


def _before(path: Path, step: int) -> list[Line]:
    """The lines before `step`; a last line without its line break was torn by a kill."""
    whole = [(number, text) for number, text in _numbered(path) if text.endswith("\n")]
    lines = [_parse(path, number, text) for number, text in whole]
    _check_order(path, lines)
    return [line for line in lines if line.step < step]


def _numbered(path: Path) -> Iterable[tuple[int, str]]:
    """The lines with their line feeds; other signs that end a line in a text are part of it."""
    content = path.read_bytes().decode("utf-8", errors="replace")
    return enumerate(re.findall(r"[^\n]*\n|[^\n]+\Z", content), start=1)


def _text(line: Line) -> str:
    content = {"version": JOURNAL_VERSION, "kind": line.kind} | plain(asdict(line), gaps=True)
    return json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"


def _write(path: Path, lines: Iterable[Line]) -> None:
    path.write_text("".join(map(_text, lines)), encoding="utf-8")


def _parse(path: Path, number: int, text: str) -> Line:
    where = f"`{path}`, line {number}"
    try:
        content: dict[str, Any] = read_json(text)
        version, kind = content.pop("version"), content.pop("kind")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise JournalError(f"{where} is no line of a journal: a killed run is mended by `--resume`") from None
    if version != JOURNAL_VERSION:
        raise JournalError(f"{where} has version {version}, not {JOURNAL_VERSION}: train again elsewhere")
    if kind not in _KINDS:
        raise JournalError(f"{where} has the kind {kind!r}: it must be one of {', '.join(_KINDS)}")
    names = {field.name for field in fields(_KINDS[kind])}
    later = {field.name for field in fields(_KINDS[kind]) if field.default is not MISSING}
    if differing := sorted((names ^ content.keys()) - (later - content.keys())):
        state = "misses" if differing[0] in names else "has an unknown field"
        raise JournalError(f"{where}, of kind {kind}, {state} `{differing[0]}`: train again elsewhere")
    if type(content["step"]) is not int:
        raise JournalError(f"{where} has the step {content['step']!r}: it must be a whole number")
    return _KINDS[kind](**content)


def _check_order(path: Path, lines: Sequence[Line], first: bool = True) -> None:
    """Refuse a step that is missing, doubled or out of order; `first`: the lines begin the journal."""
    due, last = (0, -1) if first else _after(lines[0])
    for line in lines if first else lines[1:]:
        place = _ORDER.index(line.kind)
        if line.step != due or place <= last:
            raise JournalError(
                f"`{path}` has the {line.kind} of step {line.step} where step {due} goes on: it is broken"
            )
        due, last = _after(line)


def _after(line: Line) -> tuple[int, int]:
    """The step of the line that follows, and the last place taken in it."""
    return (line.step + 1, -1) if isinstance(line, StepLine) else (line.step, _ORDER.index(line.kind))
