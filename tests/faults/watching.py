"""Processes whose memory and open files are looked at while they run."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

ROOT = Path(__file__).resolve().parents[2]
EVERY_S = 0.5
WARM, LATE = 0.3, 0.8
"""Shares of a run's time: memory is compared between the first fifth after the one and all that follows the other."""


@dataclass(frozen=True)
class Watched:
    """A process from start to end: its exit code, what it wrote to stderr, and a look every half a second."""

    code: int
    errors: str
    resident_bytes: Sequence[int]
    open_files: Sequence[int]

    def growth(self) -> float:
        """Return by what share resident memory grew after warm-up."""
        return _late(self.resident_bytes) / _early(self.resident_bytes) - 1.0

    def more_files(self) -> float:
        """Return how many more files were open late than after warm-up."""
        return _late(self.open_files) - _early(self.open_files)


def _early(looks: Sequence[int]) -> float:
    start = int(WARM * len(looks))
    return median(looks[start : max(int((WARM + 0.2) * len(looks)), start + 1)])


def _late(looks: Sequence[int]) -> float:
    return median(looks[min(int(LATE * len(looks)), len(looks) - 1) :])


def start(module: str, argv: Sequence[str]) -> subprocess.Popen:
    """Start `python -m MODULE ARGV`."""
    line = [sys.executable, "-m", module, *argv]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def watched(module: str, argv: Sequence[str], kill_when: Callable[[], bool] = lambda: False) -> Watched:
    """Run a command to its end, or kill it when told.

    stderr is read at the end: it must fit into a pipe, as the lines of progress of a run do that is no terminal.
    """
    process = start(module, argv)
    seen, resident, files = psutil.Process(process.pid), [], []
    while process.poll() is None:
        try:
            with seen.oneshot():
                memory, n_open = seen.memory_info().rss, seen.num_fds()
            resident.append(memory)
            files.append(n_open)
        except psutil.Error:
            break  # it ended between two looks
        if kill_when():
            process.kill()
        time.sleep(EVERY_S)
    _, errors = process.communicate()
    return Watched(process.returncode, errors, resident, files)
