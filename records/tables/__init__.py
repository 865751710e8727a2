"""Every table of a record, grouped by the command that writes it."""

from collections.abc import Mapping
from typing import Final

from records.errors import NoTable
from records.table import Table
from records.tables import angles, comparison, diagnosis, forecast, phases, study, support

MODULES: Final = (angles, comparison, study, phases, forecast, support, diagnosis)
TABLES: Final[Mapping[str, Table]] = {name: table for module in MODULES for name, table in module.TABLES.items()}


def table_named(name: str) -> Table:
    """Return a table by its name.

    Raises:
        NoTable: there is no such table; the message lists those that there are.
    """
    if name not in TABLES:
        raise NoTable(f"`table` must be one of {', '.join(TABLES)}, not {name!r}")
    return TABLES[name]
