"""The rows that a caller asks for by value, or one line that says which values there are."""

from collections.abc import Iterable

import pandas as pd

from records import Measurement, RecordError


def rows_where(record: Measurement, table: str, **values: str) -> pd.DataFrame:
    """Return the rows of a table with the given values in the columns of their names.

    Raises:
        RecordError: the table has no such value in a column; the message lists those it has.
    """
    rows = record.table(table)
    for column, value in values.items():
        if value not in set(rows[column]):
            there = ", ".join(map(str, rows[column].unique()))
            raise RecordError(f"`{column}` must be one that `{record.path}` has ({there}), not {value!r}")
    for column, value in values.items():
        rows = rows[rows[column] == value]
    return rows


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise a `RecordError` unless a value is one of the choices."""
    if value not in (allowed := tuple(choices)):
        raise RecordError(f"`{name}` must be one of {', '.join(allowed)}, not {value!r}")
