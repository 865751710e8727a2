"""Commands in processes of their own: how long each takes, and the most memory it holds.

`peak_bytes` counts the files of weights that are mapped into memory, as their pages are read like all others.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from cli.errors import Stopped

_STATUS = Path("/proc/self/status")


class CommandFailedError(Stopped):
    """A command that did not end well; the message has the last lines that it printed."""


@dataclass(frozen=True)
class Measured:
    """One process from start to end.

    seconds: by the clock. cpu_seconds: of its threads together. said: what it printed on stdout.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    said: str = ""


def measured(module: str, argv: Sequence[str]) -> Measured:
    """Run `python -m MODULE ARGV` and return what it took.

    Raises:
        CommandFailedError: its exit code is not 0.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        line = [sys.executable, "-m", __name__, str(report), module, *argv]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
            raise CommandFailedError(f"{module} {' '.join(argv)} ended with code {done.returncode}:\n{last}")
        return Measured(**json.loads(report.read_text()), said=done.stdout)


def peak_bytes() -> int:
    """Return the peak resident size of this process; on Linux alone, as that of `getrusage` begins at the parent's."""
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def main(argv: Sequence[str]) -> int:
    """Run a module's `main` here and report on it; return its exit code."""
    report, module, *flags = argv
    began = time.monotonic()
    sys.argv = [module, *flags]
    code = int(import_module(module).main(flags) or 0)
    own = Measured(time.monotonic() - began, time.process_time(), peak_bytes())
    Path(report).write_text(json.dumps({name: value for name, value in asdict(own).items() if name != "said"}))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
