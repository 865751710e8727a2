"""`record.json`: what identifies a record, how it went, which tables it has, and whether it is complete.

The header has `probe` (the module that measures), `pair` (the names of `student` and `teacher`), `weights` (a
fingerprint of each), `setup` (one of its config, chat template, tokenizer and processor) and `settings` (every flag
that changes a number). In a series of checkpoints, and where two are compared, `student` is a list. Versions, threads,
timings and counts are notes. The first records have no `setup`.

Fields and modules were renamed since the first records were written. Headers are read under today's names; the file
on disk stays as it is, its fingerprint too.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cli.foreign_json import read_json
from records.errors import RecordError
from records.fingerprint import fingerprint, plain

RECORD: Final = "record.json"
SCHEMA_VERSION: Final = 1
HEADER: Final = ("probe", "pair", "weights", "settings")

RENAMED_PROBES: Final = {"train.study": "study"}
RENAMED_SETTINGS: Final = {"probe_per_bin": "per_bin"}
"""Old names that records on disk have, and today's."""


def plain_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return a header as JSON holds it, under today's names.

    Raises:
        RecordError: a field of `HEADER` is missing.
    """
    if absent := [name for name in HEADER if name not in header]:
        raise RecordError(f"`header` must have {', '.join(HEADER)}; it misses {', '.join(absent)}")
    return _renamed(plain(header))


def _renamed(header: Mapping[str, Any]) -> dict[str, Any]:
    settings = {RENAMED_SETTINGS.get(name, name): value for name, value in header["settings"].items()}
    probe = RENAMED_PROBES.get(header["probe"], header["probe"])
    return {**header, "probe": probe, "settings": settings}


def opening(header: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return record.json as a run begins; without a header it says that the folder is being cleared."""
    name = None if header is None else fingerprint(header)
    return {"schema_version": SCHEMA_VERSION, "fingerprint": name, "header": header, "complete": False}


def closing(header: Mapping[str, Any], notes: Mapping[str, Any], rows: Mapping[str, int]) -> dict[str, Any]:
    """Return record.json as a run ends: `complete` stands last; NaN in notes is null.

    rows: the number of rows of each table.
    """
    content = opening(header)
    del content["complete"]
    return content | {"notes": plain(notes, gaps=True), "tables": dict(rows), "complete": True}


def read_record_json(folder: Path) -> dict[str, Any] | None:
    """Return what record.json says, its header under today's names; None if there is no such file.

    Raises:
        RecordError: the file is not a record's, or has another schema version.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        content = read_json(path.read_bytes())
    except ValueError:
        content = None
    if not _is_record(content):
        raise RecordError(f"`{path}` is no record of ours: choose another folder")
    if (version := content["schema_version"]) != SCHEMA_VERSION:
        raise RecordError(f"`{path}` has schema version {version}, not {SCHEMA_VERSION}: measure again elsewhere")
    if content["header"] is not None:
        content["header"] = _renamed(content["header"])
    return content


def _is_record(content: Any) -> bool:
    if not isinstance(content, dict) or not content.keys() >= opening(None).keys():
        return False
    header, complete = content["header"], content["complete"]
    if header is None:
        return complete is False
    kinds = (str, dict, dict, dict)
    if not isinstance(header, dict) or not all(
        isinstance(header.get(name), kind) for name, kind in zip(HEADER, kinds, strict=True)
    ):
        return False
    parts = (content.get("tables"), content.get("notes"))
    return complete is False or (complete is True and all(isinstance(part, dict) for part in parts))
