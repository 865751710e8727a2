"""Progress: a bar with the time left on a terminal, a plain line now and then in a log."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

from tqdm import tqdm

from cli.visible import print_err, visible, visible_lines

LINE_EVERY_S = 10.0


class Show(Protocol):
    """Shows how many things are done so far, and words about the last of them."""

    def __call__(self, done: int, words: str = "") -> None: ...


@contextmanager
def progress(what: str, total: int, start: int = 0) -> Iterator[Show]:
    """Yield a function that takes the number of things done so far.

    start: number of things that were done before; the time left is estimated from the others.
    """
    if sys.stderr.isatty():
        with tqdm(total=total, initial=start, desc=visible(what), unit="", dynamic_ncols=True) as bar:
            yield _Bar(bar)
    else:
        yield _Lines(what, total, start)


def say(text: str) -> None:
    """Print a line to stdout; a bar on the terminal stays below it."""
    tqdm.write(visible_lines(text), file=sys.stdout)
    sys.stdout.flush()


class _Bar:
    def __init__(self, bar: tqdm) -> None:
        self._bar = bar

    def __call__(self, done: int, words: str = "") -> None:
        self._bar.set_postfix_str(visible(words), refresh=False)
        self._bar.update(done - self._bar.n)


class _Lines:
    def __init__(self, what: str, total: int, start: int) -> None:
        self._what, self._total, self._start = what, total, start
        self._began = self._last = monotonic()

    def __call__(self, done: int, words: str = "") -> None:
        now = monotonic()
        if now - self._last < LINE_EVERY_S and done < self._total:
            return
        self._last = now
        left_s = (now - self._began) / max(done - self._start, 1) * (self._total - done)
        about = f"{words}, " if words else ""
        print_err(f"{self._what}: {done}/{self._total}, {about}{left_s:.0f} s left")
