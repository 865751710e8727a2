"""Forked children that do some work and can be killed: what they load is loaded once, in the parent."""

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LONGEST_S = 300.0
NOBODY = 65534


@dataclass(frozen=True)
class Limits:
    """What a child may not do: write a file of more than so many bytes, or what root alone may."""

    file_bytes: int | None = None
    as_nobody: bool = False

    def apply(self) -> None:
        """Hold this process to the limits."""
        if self.as_nobody:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        if self.file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_bytes, resource.RLIM_INFINITY))


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, minus the signal that killed it, and what it said on stderr."""

    code: int
    said: str

    @property
    def complaints(self) -> list[str]:
        """The lines that say why it ended."""
        return [line for line in self.said.splitlines() if line.startswith(("error: ", "stopped: "))]

    @property
    def in_order(self) -> bool:
        """Whether it ended well, or with one line and no traceback."""
        return "Traceback" not in self.said and len(self.complaints) == (self.code != 0)


class Child:
    """A fork that runs `main`, its stdout dropped and its stderr kept.

    No thread may run in the parent.
    """

    def __init__(self, main: Callable[[], int], limits: Limits | None = None) -> None:
        self._reads, writes = os.pipe()
        os.set_blocking(self._reads, False)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _run(main, limits or Limits(), writes)
        os.close(writes)

    def kill_after(self, seconds: float, number: int) -> Ended:
        """Send a signal after a while, unless the child has ended before."""
        self._wait(seconds)
        if self._status is None:
            os.kill(self.pid, number)
        return self.end()

    def kill_when(self, there: Path) -> Ended:
        """Kill the child once it has made a file, unless it has ended before."""
        while self._status is None and not there.exists():
            self._wait(0.002)
        return self.kill_after(0.0, signal.SIGKILL)

    def end(self) -> Ended:
        """Wait for the end; a child that does not end is killed."""
        self._wait(LONGEST_S)
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            self._wait(LONGEST_S)
        assert self._status is not None
        self._read()
        os.close(self._reads)
        return Ended(os.waitstatus_to_exitcode(self._status), self._said.decode(errors="replace"))

    _status: int | None = None
    _said: bytes = b""

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._status is None:
            self._read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = status
            elif time.monotonic() >= end:
                return
            else:
                time.sleep(0.002)

    def _read(self) -> None:
        try:
            while piece := os.read(self._reads, 1 << 16):
                self._said += piece
        except BlockingIOError:
            pass


def _run(main: Callable[[], int], limits: Limits, writes: int) -> None:
    """Be the child; does not return."""
    code = 99
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
        os.dup2(writes, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        limits.apply()
        code = main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def contents(folder: Path) -> dict[str, bytes | str]:
    """Return all files of a folder and where its links point."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }
