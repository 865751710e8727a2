"""A limit of time for code that somebody else wrote, such as a chat template that does not end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class OutOfTime(Exception):
    """Code took longer than it may."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Stop what runs in the context after so many seconds.

    The main thread alone can be stopped; elsewhere there is no limit. A timer that ran before goes on afterwards.

    Raises:
        OutOfTime: it took longer; from within the code.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise OutOfTime(f"it takes more than {seconds:g} seconds")

    handler = signal.signal(signal.SIGALRM, stop)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        unused, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (seconds - unused), 0.001), interval)
