"""The table `phases` of a record that is there."""

from pathlib import Path
from typing import Final

import pandas as pd

from cli.shell import run_module
from records import RecordError, read_record
from records.tables.phases import PHASES

_PROBE: Final = "study.phases"


def read_phases(place: Path, records: Path) -> pd.DataFrame:
    """Return the table.

    Args:
        place: the folder of the record.
        records: the folder of the records that it is made from, for what an error says.

    Raises:
        RecordError: the record is broken, another probe's, or of another version.
    """
    record = read_record(place)
    again = f"write it again with `{run_module(_PROBE, '--no-runs', '--records', records, '--out', place)}`"
    if record.header["probe"] != _PROBE:
        raise RecordError(
            f"{record.where} must be the record of `python -m {_PROBE}`, got one of {record.header['probe']}: {again}"
        )
    try:
        return record.table(PHASES.name)
    except RecordError as error:
        raise RecordError(f"{record.where}: {error}: {again}") from None
