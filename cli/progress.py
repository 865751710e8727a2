"""Progress: a bar with the time left on a terminal, a plain line now and then in a log."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from tqdm import tqdm

LINE_EVERY_S = 10.0


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes the number of things done so far."""
    if sys.stderr.isatty():
        with tqdm(total=total, desc=what, unit="") as bar:
            yield lambda done: bar.update(done - bar.n) and None
    else:
        yield _Lines(what, total)


class _Lines:
    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._began = self._last = monotonic()

    def __call__(self, done: int) -> None:
        now = monotonic()
        if now - self._last < LINE_EVERY_S and done < self._total:
            return
        self._last = now
        left_s = (now - self._began) / max(done, 1) * (self._total - done)
        print(f"{self._what}: {done}/{self._total}, {left_s:.0f} s left", file=sys.stderr, flush=True)
