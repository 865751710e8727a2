"""`record.json`: what identifies a record, how it went, which tables it has, and whether it is complete.

The header has `probe` (the module that measures), `pair` (the names of `student` and `teacher`), `weights` (a
fingerprint of each), `setup` (one of its config, chat template, tokenizer and processor) and `settings` (every flag
that changes a number). In a series of checkpoints, and where two are compared, `student` is a list. Versions, threads,
timings and counts are notes. The first records have no `setup`.

A record is held against what it says of itself each time it is read. `fingerprint` is that of the header. `tables`
has the number of rows of each table, and `hashes` the sha256 of each table's file. `checksum` is over all these and the
notes. `complete` is true or false. Records of version 1 have no hashes and no checksum: the rest is checked.
`python -m records RECORD --write` adds them.

Fields and modules were renamed since the first records were written. Headers are read under today's names; the file
on disk stays as it is, its fingerprint too.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from records.errors import RecordError
from records.files import read_json
from records.fingerprint import fingerprint, plain

RECORD: Final = "record.json"
SCHEMA_VERSION: Final = 2
WITHOUT_HASHES: Final = 1
"""The version of records whose tables have no hashes."""
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


def closing(
    header: Mapping[str, Any], notes: Mapping[str, Any], rows: Mapping[str, int], hashes: Mapping[str, str]
) -> dict[str, Any]:
    """Return record.json as a run ends: `complete` stands last; NaN in notes is null.

    rows: the number of rows of each table.
    hashes: the sha256 of the file of each table.
    """
    content = opening(header)
    del content["complete"]
    content |= {"notes": plain(notes, gaps=True), "tables": dict(rows), "hashes": dict(hashes)}
    return content | {"checksum": fingerprint(content), "complete": True}


def read_record_json(folder: Path) -> dict[str, Any] | None:
    """Return what record.json says, its header under today's names; None if there is no such file.

    Raises:
        RecordError: the file is not a record's, has another schema version, or was changed.
    """
    content = stated(folder)
    if content is None:
        return None
    path = folder / RECORD
    if fault := _fault(content):
        raise RecordError(f"`{path}` {fault}: put back the file that was written, or measure again with `--overwrite`")
    if content["header"] is not None:
        content["header"] = _renamed(content["header"])
    return content


def stated(folder: Path) -> dict[str, Any] | None:
    """Return what record.json says, word for word; None if there is no such file. It is not held against itself.

    Raises:
        RecordError: the file is not a record's, or has another schema version.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    content = read_json(path)
    if not _is_record(content):
        raise RecordError(f"`{path}` is no record of ours: choose another folder")
    version = content["schema_version"]
    if type(version) is not int or version not in (SCHEMA_VERSION, WITHOUT_HASHES):
        raise RecordError(f"`{path}` has schema version {version}, not {SCHEMA_VERSION}: measure again elsewhere")
    return content


def _is_record(content: Any) -> bool:
    if not isinstance(content, dict) or not content.keys() >= opening(None).keys():
        return False
    header = content["header"]
    if header is None:
        return True
    if not isinstance(header, dict) or not header.keys() >= set(HEADER) or not isinstance(header["probe"], str):
        return False
    return all(isinstance(header[name], dict) for name in HEADER if name != "probe")


def _fault(content: Mapping[str, Any]) -> str:
    """Return what is wrong with record.json by its own words; empty where all fits."""
    header, complete = content["header"], content["complete"]
    if not isinstance(complete, bool):
        return f"has `complete` {complete!r}, which must be true or false"
    named = None if header is None else fingerprint(header)
    if content["fingerprint"] != named:
        return (
            f"was changed: its `header` has the fingerprint {named}, and `fingerprint` says {content['fingerprint']!r}"
        )
    if not complete:
        return ""
    if header is None:
        return "has `complete` true and no `header`"
    return _fault_of_tables(content)


def _fault_of_tables(content: Mapping[str, Any]) -> str:
    rows, notes = content.get("tables"), content.get("notes")
    if not isinstance(rows, dict) or not all(type(n) is int and n >= 0 for n in rows.values()):
        return "has no number of rows for each table in `tables`"
    if not isinstance(notes, dict):
        return "has no `notes` by name"
    if content["schema_version"] == WITHOUT_HASHES:
        return ""
    hashes = content.get("hashes")
    if not isinstance(hashes, dict) or hashes.keys() != rows.keys() or not all(map(_is_sha256, hashes.values())):
        return "has no sha256 for each table in `hashes`"
    sealed = {name: value for name, value in content.items() if name not in ("checksum", "complete")}
    if content.get("checksum") != fingerprint(sealed):
        return f"was changed: its `checksum` must be {fingerprint(sealed)}, got {content.get('checksum')!r}"
    return ""


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
