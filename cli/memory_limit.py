"""A limit of memory for code that somebody else wrote, such as a chat template that doubles a text again and again."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PAGES = Path("/proc/self/statm")


class OutOfMemory(Exception):
    """Code took more memory than it may."""


@contextmanager
def taking_at_most(n_bytes: int) -> Iterator[None]:
    """Stop what runs in the context once the process takes so many bytes more than before.

    The limit is the system's own, on addresses, and holds for all threads. Only Linux says how much a process takes;
    elsewhere there is no limit.

    Raises:
        OutOfMemory: the code asked for more, and Python could not give it.
    """
    if not _PAGES.is_file():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_least(_taken() + n_bytes, *before), before[1]))
    try:
        yield
    except MemoryError:
        raise OutOfMemory(f"it takes more than {n_bytes / 1e6:.0f} MB of memory") from None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _taken() -> int:
    """Return the bytes of addresses that the process has."""
    return int(_PAGES.read_text().split()[0]) * resource.getpagesize()


def _least(*limits: int) -> int:
    return min(limit for limit in limits if limit != resource.RLIM_INFINITY)
