"""Intermediate tables of a record that is being filled, a shard at a time, by one process or several.

An interrupted run continues from its shards. Each of several processes makes the shards that it claims; where a table
is gathered all meet, and each reads every shard.
"""

import base64
import json
from collections import UserDict
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from records.errors import RecordError
from records.files import write_whole, writing
from records.gathering import joined
from records.seal import sealed, unsealed
from records.team import ALONE, Team

if TYPE_CHECKING:
    import pandas as pd

SHARDS = "pieces"
OLD_SHARDS = "shards"
"""Where shards of another size stood; they are not read."""
_PARQUET = ".parquet"


class ShardFiles(MutableMapping[str, bytes]):
    """What holds shards, as Parquet, by name.

    before: names of the shards that an interrupted run has left.
    """

    before: frozenset[str] = frozenset()

    def meet(self, team: Team) -> None:
        """Wait for all processes, until each has the shards of all."""


class ShardMemory(UserDict[str, bytes], ShardFiles):
    """Shards in memory; those of other processes arrive where all meet."""

    def __init__(self) -> None:
        super().__init__()
        self._shared: set[str] = set()

    def meet(self, team: Team) -> None:
        """Exchange the shards that were made since the last time."""
        if team.size > 1:
            own = {name: content for name, content in self.items() if name not in self._shared}
            words = {name: base64.b64encode(content).decode() for name, content in own.items()}
            for theirs in team.share(json.dumps(words).encode()):  # whatever comes from a port is data, never code
                self.update({name: base64.b64decode(content) for name, content in json.loads(theirs).items()})
            self._shared = set(self)


class ShardFolder(ShardFiles):
    """A folder of shards by name; each is written whole or not at all, under a seal.

    folder: that all processes see.
    record: fingerprint of the record that the shards belong to.
    """

    def __init__(self, folder: Path, record: str = "") -> None:
        self._folder = folder
        self._record = record
        self.before = frozenset(self)

    def meet(self, team: Team) -> None:
        """Wait until all have written what they have made."""
        team.share(b"")

    def drop_damaged(self) -> None:
        """Remove the shards that were changed since they were written, so that they are made again."""
        for name in sorted(self.before):
            if self._content(name) is None:
                del self[name]
        self.before = frozenset(self)

    def __getitem__(self, name: str) -> bytes:
        content = self._content(name)
        if content is None:
            raise RecordError(f"`{self._path(name)}` was changed while it was in use: run the same command again")
        return content

    def _content(self, name: str) -> bytes | None:
        return unsealed(self._path(name).read_bytes(), f"{self._record}/{name}")

    def __setitem__(self, name: str, content: bytes) -> None:
        with writing(self._folder):
            self._folder.mkdir(exist_ok=True)
        whole = sealed(content, f"{self._record}/{name}")
        write_whole(self._path(name), lambda part: part.write_bytes(whole))

    def __delitem__(self, name: str) -> None:
        self._path(name).unlink()

    def __contains__(self, name: object) -> bool:
        return self._path(str(name)).is_file()

    def __iter__(self) -> Iterator[str]:
        return (path.name.removesuffix(_PARQUET) for path in self._folder.glob(f"*{_PARQUET}"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{_PARQUET}"


class Shards:
    """Intermediate tables of a record, a shard at a time.

    files: what holds the shards; by default memory.
    part: tells the shards of one of several measurements apart from those of the others.
    team: the processes that make them.
    """

    def __init__(self, files: ShardFiles | None = None, part: str = "", team: Team = ALONE) -> None:
        self._files = ShardMemory() if files is None else files
        self._part = part
        self._team = team

    def has(self, table: str, shard_index: int) -> bool:
        """Say whether a shard has been added, by this run or one that it continues."""
        return self._name(table, shard_index) in self._files

    def due(self, shard_index: int, *tables: str) -> bool:
        """Say whether this process is to make a shard of these tables: it is not there, and no other makes it."""
        if all(self.has(table, shard_index) for table in tables):
            return False
        return self._team.claims(self._name(tables[0], shard_index))

    def continues(self, table: str) -> bool:
        """Say whether a run that this one continues has left a shard of a table."""
        return any(self._is_of(table, name) for name in self._files.before)

    def add(self, table: str, shard_index: int, frame: "pd.DataFrame") -> None:
        """Keep a shard, whole or not at all. Its columns are the probe's own business until `finish`."""
        self._files[self._name(table, shard_index)] = frame.to_parquet(index=False)

    def part(self, number: int) -> "Shards":
        """Return the shards of one of several measurements that the record joins, apart from those of the others."""
        return Shards(self._files, f"{self._part}@{number}", self._team)

    def gather(self, table: str, repeated: Sequence[str] = ()) -> "pd.DataFrame":
        """Return all shards of a table, one below the other in the order of their index; those of all processes.

        repeated: columns of text that repeats; they are returned as categories.

        Raises:
            RecordError: no shard of the table has been added.
        """
        self._files.meet(self._team)
        names = sorted(name for name in self._files if self._is_of(table, name))
        if not names:
            raise RecordError(f"there are no shards of `{table}`: add one before gathering")
        return joined((self._files[name] for name in names), repeated)

    def everyone(self, value: Any) -> list[Any]:
        """Return what each process gives, by rank; of plain JSON types."""
        return [json.loads(each) for each in self._team.share(json.dumps(value).encode())]

    def _name(self, table: str, shard_index: int) -> str:
        return f"{table}{self._part}-{shard_index:06d}"

    def _is_of(self, table: str, name: str) -> bool:
        return name.rpartition("-")[0] == table + self._part
