"""What goes wrong with records, each in one line for whoever typed the command."""

from cli.errors import UserError


class RecordError(UserError):
    """A record that cannot be written or read."""


class NoTable(RecordError, AttributeError):
    """A table that a record does not have; an `AttributeError` too, since tables are attributes of a measurement."""


class JournalError(RecordError):
    """A journal that is broken, or has a gap."""
