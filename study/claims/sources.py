"""The records that claims rest on: the command that measures each, and how their tables are read."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pandas as pd

from records import Measurement, RecordError, read_record
from records.record_json import RECORD
from study.claims.claim import NotMeasured, ReadTable
from study.claims.provenance import refuse_other

_BLIND = "--teacher runs/blind --text-view blank"
_MAKE_BLIND = "(test -d runs/blind || python -m bundled.blind runs/blind) && "


def _angles(name: str, flags: str) -> str:
    measure = f"python -m probes.angles {flags} --out runs/{name}"
    return f"{measure} && python -m figures.gallery --keep runs/{name} {name}"


def _study(name: str, flags: str = "", judged: str = "") -> str:
    return f"python -m study --arms {{arms}}{flags} --out runs/{name} && python -m study.effects runs/{name}{judged}"


COMMANDS: Mapping[str, str] = {
    "angles_second": _angles("angles_second", "--seed 1 --limit 192 --per-bin 128"),
    "angles_blind": _MAKE_BLIND + _angles("angles_blind", _BLIND),
    "study": _study("study"),
    "study_average": _study("study_average", " --weight-average 0.3333333333333333 --geometry-every 0", " --primary"),
    "study_small_rate": _study("study_small_rate", " --lr 1e-4"),
    "study_eta": _study("study_eta", " --steps 30"),
    "study_blind": _MAKE_BLIND + _study("study_blind", f" --steps 75 {_BLIND}"),
    "study_cost": _study("study_cost", " --steps 20 --answers 80"),
}
"""The command that measures a record, by its folder; `{arms}` are the arms of a study that a statement needs."""
BENCHMARKS: Mapping[str, str] = {
    "step_cost": "python -m tests.benchmarks.steps --seeds 0 1 2 --steps 3 --record runs/step_cost"
    " && python -m figures.gallery --keep runs/step_cost step_cost",
}
"""The same of a record that a benchmark wrote."""


def command(record: str, arms: tuple[str, ...]) -> str:
    """Return the command that measures a record, or some arms of it.

    >>> command("study", ("initial", "standard")).partition(" --out")[0]
    'python -m study --arms initial standard'
    """
    return {**COMMANDS, **BENCHMARKS}[record].format(arms=" ".join(arms))


class RecordFolder:
    """A folder of records, each table read once.

    Raises:
        RecordError: it has no record that claims rest on.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        if not any((folder / record / RECORD).is_file() for record in COMMANDS):
            names = ", ".join(COMMANDS)
            raise RecordError(f"`records` must be a folder with a record that claims rest on ({names}), not `{folder}`")
        self.folder = folder
        self._table = cache(self._read)
        self._record = cache(self._held)
        self._teachers: dict[bool, Measurement] = {}

    def tables(self, record: str) -> ReadTable:
        """Return the reader of a record's tables.

        Raises:
            NotMeasured: there is no such record.
            RecordError: the record is of other weights, or was measured with other settings.
        """
        if not (self.folder / record / RECORD).is_file():
            raise NotMeasured(record)
        self._record(record)
        return lambda table: self._table(record, table)

    def fingerprint(self, record: str) -> str:
        """Return what identifies a record of the folder."""
        return str(self._record(record).record["fingerprint"])

    def _read(self, record: str, table: str) -> pd.DataFrame:
        return self._record(record).table(table)

    def _held(self, record: str) -> Measurement:
        """Read a record and hold its header against the command that measures it."""
        held = read_record(self.folder / record)
        if record not in COMMANDS:
            return held
        refuse_other(held.where, held.header, COMMANDS[record])
        teacher = held.header["weights"].get("teacher")
        first = self._teachers.setdefault(_BLIND in COMMANDS[record], held)
        if teacher != first.header["weights"].get("teacher"):
            raise RecordError(
                f"{held.where} must have the teacher of {first.where}, got other weights ({teacher!r}): measure it with"
                f" `{COMMANDS[record]}`"
            )
        return held
