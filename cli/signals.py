"""Ctrl-C and SIGTERM: both end a command in order, so that files are closed, locks freed and the user told."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; the message is one line that says how to go on."""

    def __init__(self, number: int = signal.SIGINT, how: str = "the same command goes on from what is written") -> None:
        super().__init__(f"{_NAMES.get(signal.Signals(number), number)}; {how}")
        self.number = int(number)


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Interrupted` at SIGTERM, in the main thread, unless somebody else handles that signal."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)


class Asked:
    """Whether the user has asked a loop to stop: the first signal is noted, the second raises `Interrupted`.

    number: that of the first signal; None as long as there was none.
    """

    number: int | None = None

    def note(self, number: int, _: FrameType | None = None) -> None:
        """Note a signal."""
        if self.number is not None:
            raise Interrupted(number)
        self.number = number


@contextmanager
def stops_when_asked() -> Iterator[Asked]:
    """Let the main thread note Ctrl-C and SIGTERM, so that a loop ends after what it is doing."""
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, asked.note) for number in _NAMES}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
