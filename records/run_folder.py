"""The folder of a training run, or of a monitor of one, as the tables of a study.

config.json      the settings, fingerprints of the models, and who wrote the folder (`probe`; by default `train`)
metrics.jsonl    the journal, see `records.journal`
tokens/          of a monitor: the table `tokens` of each measurement, `step-000050/tokens.parquet`
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cli.shell import run_module
from records.errors import RecordError
from records.files import read_json
from records.journal import JOURNAL, read_journal
from records.journal_tables import Run, journal_tables
from records.reading import Measurement, read_record
from records.record_json import RECORD
from records.tables import TABLES
from records.unlearning import unlearnt_since

if TYPE_CHECKING:
    import pandas as pd

CONFIG: Final = "config.json"
TOKENS: Final = "tokens"
_IDENTIFYING: Final = ("student", "teacher", "objective", "seed")


def is_run(folder: str | Path) -> bool:
    """Say whether a folder holds a run and no record."""
    folder = Path(folder)
    return (folder / CONFIG).is_file() and (folder / JOURNAL).is_file() and not (folder / RECORD).is_file()


def read_record_or_run(folder: str | Path, *tables: str) -> Measurement:
    """Read a record as `read_record` does, or a run; a run lacks the tables that its journal has no line for.

    Raises:
        RecordError: as `read_record` and `read_run`.
        NoTable: the record or run lacks a table.
    """
    if not is_run(folder):
        return read_record(folder, *tables)
    run = read_run(folder)
    measured = {name: frame for name, frame in run.tables.items() if len(frame)}
    run = Measurement(run.path, run.record, measured)
    for name in tables:
        run.table(name)
    return run


def read_run(folder: str | Path) -> Measurement:
    """Return the tables of a run, in the shape that pictures of training take: `figures.training_norms.draw`, others.

    The tables are `curves`, `steps`, `evaluations` and `gradients`; `records.tables.study` has their columns. `arm` is
    the objective. The header has `probe`, `pair`, `weights`, `setup` and `settings`, the flags. A run that still goes
    on can be read.

    Raises:
        RecordError: the folder holds no run, or its journal is broken.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise RecordError(f"`{folder}` holds no run: make one with `{run_module('train', '--out', folder)}`")
    content = read_config(folder / CONFIG)
    settings = content.get("settings", {})
    if missing := [name for name in _IDENTIFYING if name not in settings]:
        raise RecordError(f"`{folder / CONFIG}` does not say the `{missing[0]}` of the run: put back what it wrote")
    pair = {side: settings[side] for side in ("student", "teacher")}
    journal = read_journal(folder)
    tables = journal_tables([Run(settings["objective"], settings["seed"], journal)])
    header = {"probe": "train", "pair": pair, **content}
    notes = {"unlearnt_since": unlearnt_since(journal.evaluations)}
    rows = {name: len(frame) for name, frame in tables.items() if len(frame)}
    return Measurement(folder, {"header": header, "notes": notes, "tables": rows}, tables)


def read_config(path: Path) -> dict[str, Any]:
    """Return what a run's config.json says.

    Raises:
        RecordError: it is missing, damaged or something else.
    """
    content = read_json(path) if path.is_file() else None
    if not isinstance(content, dict) or not all(isinstance(content.get(n, {}), dict) for n in ("settings", "weights")):
        raise RecordError(f"`{path}` is not what a run writes: put it back, or choose another `--out`")
    return content


def write_tokens(folder: Path, step: int, tokens: "pd.DataFrame") -> None:
    """Keep the table `tokens` of a measurement.

    Raises:
        NotWritten: the system refuses.
    """
    place = _tokens_at(folder, step)
    place.mkdir(parents=True, exist_ok=True)
    TABLES[TOKENS].write(place, tokens)


def read_tokens(folder: Path, step: int) -> "pd.DataFrame":
    """Return the table `tokens` of a measurement.

    Raises:
        RecordError: it is missing or damaged.
    """
    return TABLES[TOKENS].read(_tokens_at(folder, step))


def steps_with_tokens(folder: Path) -> list[int]:
    """Return the steps whose tokens are kept, in order."""
    numbers = (re.fullmatch(r"step-(\d+)", place.name) for place in (folder / TOKENS).glob("step-*"))
    return sorted(int(number[1]) for number in numbers if number)


def written_by(folder: Path) -> Mapping[str, Any]:
    """Return the header of a run: what its config.json says, with `probe`."""
    return {"probe": "train", **read_config(folder / CONFIG)}


def _tokens_at(folder: Path, step: int) -> Path:
    return folder / TOKENS / f"step-{step:06d}"
