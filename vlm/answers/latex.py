"""Whether two formulas have one value, by math-verify, in a process of its own.

An expression may take for ever, exhaust the memory or bring the interpreter down. So a worker process reads it: one
that is started when it is first needed and then stays. It has some seconds of processor time for each question, which
do not depend on what else the machine does. A worker that does not answer is ended, and the answer counts as wrong.

No question suffers from those before it. A worker that died, or that has taken much memory, is replaced. If a worker
dies at a question and was not new, a new one is asked again. A wait that is interrupted ends the worker, so that no
later question gets the answer that is due. A forked process and every thread wait for answers of their own.

The worker is a fresh interpreter that runs this file alone: it imports neither a model library nor the main module of
the program. It ends when its input does, and by its own alarm if the program that started it is gone.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

SECONDS = 5.0
"""Processor time that a question is given."""
PATIENCE = 4.0
"""How many times as long the program waits for an answer."""
_START_SECONDS = 120.0
_MEMORY = 4 << 30  # bytes of addresses; math-verify alone takes a tenth
_MUCH = 1 << 20  # kibibytes; a worker that has held as much is replaced
_COMMAND = (sys.executable, "-P", "-W", "ignore", __file__)
_READY = "ready\n"
_DIED = ""


class Worker:
    """A process that judges pairs of formulas, one a line, and may be lost at each of them."""

    def __init__(self, command: Sequence[str] = _COMMAND, seconds: float = SECONDS) -> None:
        self._command, self._seconds = command, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def equal(self, response: str, answer: str) -> bool:
        """Whether the two are equal; False if no worker answers in time."""
        self._leave_to_parent()
        question = json.dumps([response, answer, self._seconds])
        with self._lock:
            was_used = self._process is not None
            answered = self._ask(question)
            if answered == _DIED and was_used:
                answered = self._ask(question)
        return answered == "true\n"

    def close(self) -> None:
        """End the process, if there is one."""
        self._leave_to_parent()
        self._end()

    def _leave_to_parent(self) -> None:
        """Let go of a process that was started before this program was forked."""
        if self._owner != os.getpid():
            self._process, self._owner, self._lock = None, os.getpid(), threading.Lock()

    def _end(self) -> int | None:
        """End the process; return the code that it ended with, None if there is none."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return code

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        if self._read(_START_SECONDS) != _READY:
            self._end()
            raise RuntimeError(f"the process that reads formulas does not start: try `{' '.join(self._command)}`")

    def _ask(self, question: str) -> str | None:
        """Return the answer, `_DIED`, or None if it does not come in time."""
        try:
            if self._process is None:
                self._start()
            answered = self._exchange(question)
        except BaseException:  # an interrupt: the answer that is still due must not be read as the next one
            self._end()
            raise
        if answered in (None, _DIED) and self._end() == -signal.SIGPROF:
            return None  # its time was over
        return answered

    def _exchange(self, question: str) -> str | None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(question.encode() + b"\n")
        except OSError:
            return _DIED
        return self._read(self._seconds * PATIENCE)

    def _read(self, seconds: float) -> str | None:
        """The next line, `_DIED` at the end; None if nothing comes. A line is short: it comes whole."""
        assert self._process is not None and self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return self._process.stdout.readline().decode() if ready else None


worker = Worker()
"""The one that `equal` asks."""
atexit.register(worker.close)


def equal(response: str, answer: str) -> bool:
    """Whether an answer in LaTeX, or a plain formula, equals the reference in value."""
    return worker.equal(response, answer)


def _serve() -> None:
    """Answer every line `[response, answer, seconds]` of the input with true or false."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    _judge("1", "1")  # builds what the first formula would else wait for
    answers.write(_READY)
    for line in sys.stdin:
        response, answer, seconds = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # these end the process, whatever it is at
        signal.setitimer(signal.ITIMER_REAL, seconds * PATIENCE + 1.0)
        equal = _judge(response, answer)
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        answers.write(json.dumps(equal) + "\n")
        if _most_held() > _MUCH:
            return


def _most_held() -> int:
    """Kibibytes that this process has held at most; getrusage would count those of the program that started it."""
    try:
        with open("/proc/self/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0  # a system without this file keeps its worker


def _judge(response: str, answer: str) -> bool:
    """Whether math-verify finds two formulas equal; units are names to it, and are no part of a formula here."""
    from latex2sympy2_extended import NormalizationConfig, latex2sympy
    from math_verify import verify
    from math_verify.grader import should_treat_as_complex

    spelling = NormalizationConfig(units=False, malformed_operators=True, nits=True, boxed="none")
    try:
        first, second = (
            latex2sympy(
                text, is_real=not should_treat_as_complex(text), convert_degrees=False, normalization_config=spelling
            )
            for text in (answer, response)
        )
        return bool(verify(first, second, allow_set_relation_comp=True, timeout_seconds=None))
    except Exception:  # of a parser of arbitrary text: each means "not equal"
        return False


if __name__ == "__main__":
    _serve()
