"""When does steering help? The section of the scoreboard about pairs whose gaps are set.

It rests on two records of `study.phases`: `phases`, short runs on a grid of pairs, judged by a loss, and
`phases_accuracy`, longer runs on three pairs, judged by right answers.
"""

from pathlib import Path
from typing import Final

import pandas as pd

from records.record_json import RECORD
from study.claims.grid_losses import grid_losses
from study.claims.pair_answers import pair_answers
from study.phases.read import read_phases

_RECORDS: Final = {"phases": ("suite", grid_losses), "phases_accuracy": ("suite_accuracy", pair_answers)}
"""By record, the folder of the records that it is made from, and what makes the parts of the section."""


def section(folder: Path) -> str:
    """Return the section in Markdown; empty if the folder has no record of pairs with set gaps.

    Args:
        folder: the records that claims rest on.

    Raises:
        RecordError: a record is broken, or another probe's.
    """
    parts = [part for name, (runs, of) in _RECORDS.items() for part in of(_table(folder / name, folder / runs))]
    return "\n\n".join(["## When does steering help?", *parts]) if parts else ""


def _table(place: Path, runs: Path) -> pd.DataFrame:
    """The table of a record, which is made from the records in `runs`; empty if there is no record."""
    return read_phases(place, runs) if (place / RECORD).is_file() else pd.DataFrame()
