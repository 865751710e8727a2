"""The entries of the index: every record and run below a folder, the newest first; what cannot be read says why."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cli.errors import UserError
from figures.catalogue import PICTURES
from figures.index.headlines import of_record, of_run
from figures.index.sparks import Lines, lines_of_record, lines_of_run
from records import read_journal, read_record
from records.files import read_json
from records.journal import JOURNAL
from records.record_json import RECORD, read_record_json

CONFIG: Final = "config.json"
STATES: Final = ("complete", "unfinished", "damaged")


@dataclass(frozen=True)
class Entry:
    """One record or run."""

    folder: Path
    """Relative to the folder of the index."""
    kind: str
    """The probe that wrote a record, such as `probes.angles`; `train` for a run."""
    when: datetime
    """When its main file was written last, by the file system."""
    state: str
    pair: str = ""
    weights: str = ""
    headline: str = ""
    picture: str = ""
    """Name of a picture in the folder; empty without one."""
    page: str = ""
    """Name of a page in the folder; empty without one."""
    lines: Lines = field(default_factory=dict)
    """A small picture, where the folder has none."""


def entries(folder: Path) -> list[Entry]:
    """Return the records and runs below a folder, the newest first. Links are not followed."""
    return sorted(_entries(folder), key=lambda entry: (entry.when, str(entry.folder)), reverse=True)


def _entries(root: Path) -> Iterator[Entry]:
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        folder = Path(place)
        if RECORD in files:
            yield _record(root, folder)
        elif JOURNAL in files:
            yield _run(root, folder)


def _record(root: Path, folder: Path) -> Entry:
    entry: dict[str, Any] = {"folder": folder.relative_to(root), "when": _when(folder / RECORD)}
    try:
        content = read_record_json(folder)
        header = content["header"] if content else None
        if content is None or header is None:
            return Entry(kind="record", state="unfinished", headline="the folder is being cleared", **entry)
        entry |= {"kind": header["probe"], "pair": _pair(header["pair"]), "weights": _weights(header["weights"])}
        if not content["complete"]:
            return Entry(state="unfinished", headline="the same command goes on", **entry)
        record, shown = read_record(folder), _shown(folder)
        lines = {} if shown["picture"] else lines_of_record(record)
        return Entry(state="complete", headline=of_record(record), lines=lines, **entry, **shown)
    except (UserError, OSError, KeyError, TypeError, ValueError) as error:
        return Entry(state="damaged", headline=str(error), **{"kind": "record", **entry})


def _run(root: Path, folder: Path) -> Entry:
    entry: dict[str, Any] = {"folder": folder.relative_to(root), "when": _when(folder / JOURNAL), "kind": "train"}
    try:
        config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
        settings = config.get("settings", {}) if isinstance(config, dict) else {}
        entry |= {"pair": _pair(settings), "weights": _weights(config.get("weights", {}))}
        journal = read_journal(folder)
        shown = {**_shown(folder), "lines": lines_of_run(journal)}
        return Entry(state="complete", headline=of_run(journal, settings), **entry, **shown)
    except (UserError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        return Entry(state="damaged", headline=str(error), **entry)


def _when(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _pair(pair: Mapping[str, Any]) -> str:
    """Name a student, or several, and their teacher."""
    student, teacher = pair.get("student", ""), pair.get("teacher")
    students = " \u2192 ".join(map(str, student)) if isinstance(student, list) else str(student)
    return f"{students} \u2190 {teacher}" if teacher else students


def _weights(weights: Mapping[str, Any]) -> str:
    """Return the first signs of each fingerprint."""
    flat = [one for value in weights.values() for one in (value if isinstance(value, list) else [value])]
    return " ".join(str(one)[:8] for one in flat if one)


def _shown(folder: Path) -> dict[str, Any]:
    """Return the page and the picture that lie in a folder, in the order of the catalogue."""
    pages = [f"{one.name}{one.page}" for one in PICTURES if one.page == ".html"]
    pictures = [f"{one.name}.png" for one in PICTURES if not one.page]
    pages.sort(key=lambda name: name != "report.html")
    return {"page": _first(folder, pages), "picture": _first(folder, pictures)}


def _first(folder: Path, names: list[str]) -> str:
    return next((name for name in names if (folder / name).is_file()), "")
