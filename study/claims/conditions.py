"""When does steering help? The section of the scoreboard about pairs whose gaps are set.

It rests on two records of `study.phases`: `phases`, short runs on a grid of pairs, judged by a loss, and
`phases_accuracy`, longer runs on three pairs, judged by right answers.
"""

from pathlib import Path
from typing import Final

import pandas as pd

from records import RecordError, read_record
from records.record_json import RECORD
from study.claims.grid_losses import grid_losses
from study.claims.pair_answers import pair_answers

_PROBE: Final = "study.phases"
_TABLE: Final = "phases"
_RECORDS: Final = {"phases": grid_losses, "phases_accuracy": pair_answers}
"""By record, what makes the parts of the section."""


def section(folder: Path) -> str:
    """Return the section in Markdown; empty if the folder has no record of pairs with set gaps.

    Args:
        folder: the records that claims rest on.

    Raises:
        RecordError: a record is broken, or another probe's.
    """
    parts = [part for name, of in _RECORDS.items() for part in of(_table(folder / name))]
    return "\n\n".join(["## When does steering help?", *parts]) if parts else ""


def _table(record_folder: Path) -> pd.DataFrame:
    """The table of a record; empty if there is no record."""
    if not (record_folder / RECORD).is_file():
        return pd.DataFrame()
    record = read_record(record_folder, _TABLE)
    if record.header["probe"] != _PROBE:
        raise RecordError(
            f"{record.where} must be the record of `python -m {_PROBE}`, got one of {record.header['probe']}: write it"
            f" again with `python -m {_PROBE} --no-runs`"
        )
    return record.table(_TABLE)
