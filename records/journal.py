"""The journal of a training run: `metrics.jsonl`, one JSON object for each line, written as the run goes.

The field `kind` names one of three kinds of line; `records.journal_lines` has their fields. A line's `step` is the
number of updates before it. Within a step the evaluation comes first, then the geometry, then the step itself:

    {"version": 1, "kind": "evaluation", "step": 0, ...}
    {"version": 1, "kind": "step", "step": 0, ...}
    {"version": 1, "kind": "step", "step": 1, ...}

Numbers that are not finite, and means of no tokens, are null. Divergences are in nats per token, times in seconds.
A run that continues from a checkpoint at step k drops the lines of step k and later, and writes them again.

The journal of a monitor has no lines of kind `step`: evaluations and geometry stand at the steps that were measured.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, Final

from cli.shell import run_module
from records.errors import JournalError
from records.files import json_text, parse_json, write_whole, writing
from records.fingerprint import plain
from records.journal_lines import EvaluationLine, GeometryLine, Journal, LanguageRise, Line, StepLine

JOURNAL: Final = "metrics.jsonl"
JOURNAL_VERSION: Final = 1


_KINDS: dict[str, type[Line]] = {kind.kind: kind for kind in (EvaluationLine, GeometryLine, StepLine)}
_ORDER = list(_KINDS)  # within a step


class JournalWriter:
    """Append lines to the journal of a run that stands at `step`. The first write drops later lines, and a torn one.

    every_step: whether each update has its line. A monitor's journal has none of these.

    Raises:
        JournalError: the journal is broken or has a gap before `step`.
    """

    def __init__(self, folder: Path, step: int, *, every_step: bool = True) -> None:
        self.path = folder / JOURNAL
        kept = _before(self.path, step) if self.path.is_file() else []
        self.lines = [line for line, _ in kept]
        self._contents = [content for _, content in kept]
        self._begun, self._every_step = False, every_step
        if every_step and (steps := sum(isinstance(line, StepLine) for line in self.lines)) < step:
            raise JournalError(f"`{self.path}` ends after {steps} steps, the checkpoint stands at {step}: start again")

    def begin(self) -> None:
        """Write the lines that are kept, and no others; a second call does nothing."""
        if not self._begun:
            write_whole(self.path, lambda part: part.write_bytes(b"".join(self._contents)))
            self._begun = True

    def append(self, line: Line) -> None:
        """Write a line through to the disk, whole or not at all.

        Raises:
            NotWritten: the system refuses.
        """
        self.begin()
        gaps = not self._every_step
        _check_order(self.path, [*self.lines[-1:], line], first=not self.lines, gaps=gaps)
        content = _text(line).encode()
        _append(self.path, content)
        self.lines.append(line)
        self._contents.append(content)

    def sha256_before(self, step: int) -> str:
        """Return the sha256 of the lines before a step, 64 hexadecimal digits."""
        numbered = zip(self.lines, self._contents, strict=True)
        return hashlib.sha256(b"".join(content for line, content in numbered if line.step < step)).hexdigest()


def read_journal(folder: str | Path) -> Journal:
    """Read the journal in a run's folder.

    Raises:
        JournalError: there is none, or it is broken or has a gap; the line is named.
    """
    path = Path(folder) / JOURNAL
    if not path.is_file():
        raise JournalError(f"`{folder}` holds no {JOURNAL}: write one with `{run_module('train', '--out', folder)}`")
    lines = [_parse(path, number, content) for number, content in _numbered(path)]
    _check_order(path, lines, gaps=_is_of_monitor(lines))
    return Journal(
        [line for line in lines if isinstance(line, StepLine)],
        [line for line in lines if isinstance(line, EvaluationLine)],
        [line for line in lines if isinstance(line, GeometryLine)],
    )


def _append(path: Path, content: bytes) -> None:
    with writing(path), path.open("ab", buffering=0) as journal:
        size = journal.tell()
        try:
            while content:  # a part that still fits, then the error
                content = content[journal.write(content) :]
            os.fsync(journal.fileno())
        except OSError:
            journal.truncate(size)
            raise


def _before(path: Path, step: int) -> list[tuple[Line, bytes]]:
    """The lines before `step`, and how they are written; a last line without its line break was torn by a kill."""
    whole = [(number, content) for number, content in _numbered(path) if content.endswith(b"\n")]
    lines = [_parse(path, number, content) for number, content in whole]
    _check_order(path, lines, gaps=_is_of_monitor(lines))
    return [(line, content) for line, (_, content) in zip(lines, whole, strict=True) if line.step < step]


def _numbered(path: Path) -> Iterable[tuple[int, bytes]]:
    """The lines with their line feeds; other signs that end a line in a text are part of it."""
    return enumerate(re.findall(rb"[^\n]*\n|[^\n]+\Z", path.read_bytes()), start=1)


def _text(line: Line) -> str:
    content = {"version": JOURNAL_VERSION, "kind": line.kind} | plain(asdict(line), gaps=True)
    return json_text(content) + "\n"


def _parse(path: Path, number: int, written: bytes) -> Line:
    where = f"`{path}`, line {number}"
    try:
        content: dict[str, Any] = parse_json(written)
        version, kind = content.pop("version"), content.pop("kind")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise JournalError(f"{where} is no line of a journal: a killed run is mended by `--resume`") from None
    if type(version) is not int or version != JOURNAL_VERSION:
        raise JournalError(f"{where} has version {version}, not {JOURNAL_VERSION}: train again elsewhere")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise JournalError(f"{where} has the kind {kind!r}: it must be one of {', '.join(_KINDS)}")
    names = {field.name for field in fields(_KINDS[kind])}
    later = {field.name for field in fields(_KINDS[kind]) if field.default is not MISSING}
    if differing := sorted((names ^ content.keys()) - (later - content.keys())):
        state = "misses" if differing[0] in names else "has an unknown field"
        raise JournalError(f"{where}, of kind {kind}, {state} `{differing[0]}`: train again elsewhere")
    if type(content["step"]) is not int:
        raise JournalError(f"{where} has the step {content['step']!r}: it must be a whole number")
    return _KINDS[kind](**content | _rise(where, content))


def _rise(where: str, content: Mapping[str, Any]) -> dict[str, LanguageRise]:
    """The field of a line that is a record of its own, if the line has it."""
    if (stated := content.get("language_rise")) is None:
        return {}
    try:
        return {"language_rise": LanguageRise(**stated)}
    except TypeError:
        raise JournalError(f"{where} has no numbers in `language_rise`: train again elsewhere") from None


def _is_of_monitor(lines: Sequence[Line]) -> bool:
    return not any(isinstance(line, StepLine) for line in lines)


def _check_order(path: Path, lines: Sequence[Line], first: bool = True, gaps: bool = False) -> None:
    """Refuse a step that is missing, doubled or out of order.

    first: whether the lines begin the journal. gaps: whether a later step may follow, of which nothing is written.
    """
    due, last = (0, -1) if first else _after(lines[0])
    for line in lines if first else lines[1:]:
        place = _ORDER.index(line.kind)
        if gaps and line.step > due:
            due, last = line.step, -1
        if line.step != due or place <= last:
            raise JournalError(
                f"`{path}` has the {line.kind} of step {line.step} where step {due} goes on: it is broken"
            )
        due, last = _after(line)


def _after(line: Line) -> tuple[int, int]:
    """The step of the line that follows, and the last place taken in it."""
    return (line.step + 1, -1) if isinstance(line, StepLine) else (line.step, _ORDER.index(line.kind))
