"""A command under a clock that goes back: each look at the time of day is an hour before the last.

python -m tests.faults.clock probes.vds --out runs/backwards
"""

import sys
import time
from collections.abc import Sequence
from importlib import import_module
from itertools import count

HOUR_S = 3600.0


def turn_back() -> None:
    """Replace the clock of the day; the monotonic one is the system's and cannot go back."""
    start, looks = time.time(), count()
    time.time = lambda: start - HOUR_S * next(looks)
    time.time_ns = lambda: int(time.time() * 1e9)


def main(argv: Sequence[str]) -> int:
    """Run a module's `main`; return its exit code."""
    module, *flags = argv
    turn_back()
    sys.argv = [module, *flags]
    return int(import_module(module).main(flags) or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
