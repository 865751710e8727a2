"""Whether two formulas have one value, by math-verify, in a process of its own.

An expression may take for ever, exhaust the memory or bring the interpreter down. So a worker process reads it: one
that is started when it is first needed and then stays. It is given some seconds an expression; one that does not answer
is ended, its answer counts as wrong, and the next expression has a new worker.

The worker is a fresh interpreter that runs this file alone: it imports neither a model library nor the main module of
the program. It ends when its input does, and by its own alarm if the program that started it is gone.
"""

import atexit
import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence

SECONDS = 5.0
"""What an expression is given."""
_START_SECONDS = 120.0
_MEMORY = 4 << 30  # bytes of addresses; math-verify alone takes a tenth
_COMMAND = (sys.executable, "-P", "-W", "ignore", __file__)
_READY = "ready\n"


class Worker:
    """A process that judges pairs of formulas, one a line, and may be lost at each of them."""

    def __init__(self, command: Sequence[str] = _COMMAND, seconds: float = SECONDS) -> None:
        self._command, self._seconds = command, seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def equal(self, given: str, answer: str) -> bool:
        """Whether the two are equal; False if that was not to be found out in time."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._start()
        answered = self._ask(json.dumps([given, answer, self._seconds]))
        if answered is None:
            self.close()
        return answered == "true\n"

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        if self._read(_START_SECONDS) != _READY:
            self.close()
            raise RuntimeError(f"the process that reads formulas does not start: try `{' '.join(self._command)}`")

    def _ask(self, question: str) -> str | None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(question.encode() + b"\n")
        except OSError:
            return None
        return self._read(self._seconds)

    def _read(self, seconds: float) -> str | None:
        """The next line; None if it does not come. A line is short: it comes whole."""
        assert self._process is not None and self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return (self._process.stdout.readline().decode() or None) if ready else None


worker = Worker()
"""The one that `equal` asks."""
atexit.register(worker.close)


def equal(given: str, answer: str) -> bool:
    """Whether an answer in LaTeX, or a plain formula, equals the reference in value."""
    return worker.equal(given, answer)


def _serve() -> None:
    """Answer every line `[given, answer, seconds]` of the input with true or false."""
    import resource
    import signal

    from math_verify import parse, verify

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    parse("$1$", parsing_timeout=None)  # builds what the first formula would else wait for
    answers.write(_READY)
    for line in sys.stdin:
        given, answer, seconds = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, seconds + 1.0)  # ends the process, whatever it is at
        try:
            first, second = (parse(f"${text}$", parsing_timeout=None) for text in (answer, given))
            found = bool(verify(first, second, timeout_seconds=None))
        except Exception:  # of a parser of arbitrary text: each means "not equal"
            found = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        answers.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    _serve()
