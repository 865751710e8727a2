"""Several processes that measure together, each with a device or some cores of its own.

    accelerate launch --multi_gpu --num_processes 2 -m probes.angles CKPT      # also on a CPU

Every process loads the models and goes through the same stages. The work of a stage is cut into shards of fixed size,
and whoever is free takes the next; where the stage ends all wait and read every shard. So a record does not depend on
the number of processes. The processes talk through the launcher's key-value store; no tensor is sent. They must see the
same folders.

A command does this by itself. A script that measures through `Analyzer` says where:

    with processes.joined():
        Analyzer(...).angles()
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

from cli import processes
from cli.errors import OptionError, Stopped, UserError
from cli.processes import only_main_speaks
from records import ALONE, Team

if TYPE_CHECKING:
    from torch.distributed import Store

TIMEOUT = timedelta(hours=2)
"""The longest wait for another process."""
_POLL_S = 0.02
_LAST_WORDS_S = 10.0  # the longest wait of a process that fails until the others know
_PIECE = 4 << 20  # bytes, below what the store takes at once
_FAILED, _LEFT = "failed", "left"

_team: Team = ALONE
_times_joined = count()


def team() -> Team:
    """Return the processes that measure together; this one alone outside of `joined`."""
    return _team


@contextmanager
def joined() -> Iterator[Team]:
    """Measure together with the processes that the launcher has started; only the main one prints.

    If one fails, all end: with the same message and exit code where the mistake is the user's.

    Raises:
        OptionError: accelerate has started one process where several were asked for.
    """
    global _team
    processes.refuse_single_process()
    if processes.count() == 1:
        yield ALONE
        return
    both = StoreTeam(_store(), processes.rank(), processes.count())
    _team = both
    try:
        with only_main_speaks():
            yield both
    except BaseException as error:
        both.fail(error)
        raise
    else:
        both.leave(TIMEOUT.total_seconds())
    finally:
        _team = ALONE


def refuse_idle(n_prompts: int, batch: int) -> None:
    """Refuse more processes than there are shards of prompts.

    Raises:
        OptionError: a process would have nothing to do.
    """
    n_shards = -(-n_prompts // batch)
    if _team.size > n_shards:
        raise OptionError(
            f"`num_processes` must be at most {n_shards}, the batches of {batch} that {n_prompts} prompts make, got"
            f" {_team.size}: start fewer, lower `batch`, or give more prompts"
        )


class StoreTeam:
    """Processes that talk through a key-value store.

    store: that of `torch.distributed`, which all of them reach.
    """

    def __init__(self, store: "Store", rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._store = store
        self._records = self._meetings = 0

    def begin(self) -> None:
        """Begin another record: shards of the same names are dealt again."""
        self._records += 1

    def claims(self, name: str) -> bool:
        """Say whether a piece of work is this process's: the first that asks for it has it.

        Raises:
            UserError, Stopped: another process has failed.
        """
        with _reached():
            self._refuse_failed()
            return self._store.add(f"{self._records}/{name}", 1) == 1

    def share(self, value: bytes) -> list[bytes]:
        """Wait for all processes; return what each of them gave, by rank.

        Raises:
            UserError, Stopped: another process has failed, or does not come within `TIMEOUT`.
        """
        self._meetings += 1
        with _reached():
            self._put(f"{self._meetings}/{self.rank}", value)
            values = [self._take(f"{self._meetings}/{rank}") for rank in range(self.size)]
            self._drop(f"{self._meetings - 1}/{self.rank}")  # which all have read, as they are here
        return values

    def fail(self, error: BaseException) -> None:
        """Tell the others of an error, unless one of them was first; the main process stays until they know."""
        kind = "user" if isinstance(error, UserError) else "stopped"
        words = str(error)
        if not isinstance(error, (UserError, Stopped)):
            words = ": ".join(filter(None, (type(error).__name__, words)))
        try:
            if self._store.add(f"{_FAILED}/first", 1) == 1:
                where = "" if kind == "user" else f"process {self.rank + 1} of {self.size} has failed: "
                self._store.set(_FAILED, f"{kind} {where}{words}"[: _PIECE // 4])
            self.leave(_LAST_WORDS_S)
        except RuntimeError:
            pass  # the store has gone with the main process

    def leave(self, longest_s: float) -> None:
        """Say that this process needs the store no longer; the main one waits for the others, as it may hold it."""
        try:
            self._store.add(_LEFT, 1)
            end = time.monotonic() + longest_s
            while self.rank == 0 and self._store.add(_LEFT, 0) < self.size and time.monotonic() < end:
                time.sleep(_POLL_S)
        except RuntimeError:
            pass  # all others have left

    def _refuse_failed(self) -> None:
        if self._store.check([_FAILED]):
            kind, _, words = self._store.get(_FAILED).decode().partition(" ")
            raise UserError(words) if kind == "user" else Stopped(words)

    def _put(self, key: str, value: bytes) -> None:
        pieces = [value[start : start + _PIECE] for start in range(0, len(value), _PIECE)]
        for number, piece in enumerate(pieces):
            self._store.set(f"{key}/{number}", piece)  # type: ignore[arg-type]  # takes bytes too
        self._store.set(key, str(len(pieces)))

    def _take(self, key: str) -> bytes:
        end = time.monotonic() + TIMEOUT.total_seconds()
        while not self._store.check([key]):
            self._refuse_failed()
            if time.monotonic() > end:
                raise Stopped(f"process {int(key.split('/')[1]) + 1} of {self.size} has not answered for {TIMEOUT}")
            time.sleep(_POLL_S)
        return b"".join(self._store.get(f"{key}/{number}") for number in range(int(self._store.get(key))))

    def _drop(self, key: str) -> None:
        if self._store.check([key]):
            for number in range(int(self._store.get(key))):
                self._store.delete_key(f"{key}/{number}")
            self._store.delete_key(key)


@contextmanager
def _reached() -> Iterator[None]:
    """Say of a store that is gone that the main process is."""
    try:
        yield
    except (UserError, Stopped):
        raise
    except RuntimeError:
        raise Stopped("the main process has ended") from None


def _store() -> "Store":
    """The store of these processes: the launcher's, or one that the main process opens at MASTER_ADDR."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else a lost connection fills a page
    from torch.distributed import PrefixStore, rendezvous

    store, _, _ = next(iter(rendezvous("env://", timeout=TIMEOUT)))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"vgs/{attempt}/{next(_times_joined)}", store)
