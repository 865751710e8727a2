"""The processes that fill one record together: who makes a shard, and where they wait for one another."""

from typing import Protocol


class Team(Protocol):
    """What a record asks of the processes that fill it; each runs the same stages in the same order.

    rank: the number of this process; 0 is the main one, which writes the record.
    size: how many processes there are.
    """

    rank: int
    size: int

    def begin(self) -> None:
        """Begin another record: shards of the same names are dealt again."""

    def claims(self, name: str) -> bool:
        """Say whether a piece of work is this process's: the first that asks for it has it."""

    def share(self, value: bytes) -> list[bytes]:
        """Wait for all processes; return what each of them gave, by rank."""


class Alone:
    """One process, which does everything and waits for nobody."""

    rank = 0
    size = 1

    def begin(self) -> None:
        """Begin another record."""

    def claims(self, name: str) -> bool:
        """Say yes: all work is this process's."""
        return True

    def share(self, value: bytes) -> list[bytes]:
        """Return what this process gave."""
        return [value]


ALONE = Alone()
