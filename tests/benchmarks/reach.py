"""Peak memory of probe commands at the published vocabulary, each in a process of its own.

    python -m tests.benchmarks.reach                      # about an hour on one idle core
    python -m tests.benchmarks.reach --length 512 --only vds

The models are random, of width 256 and two layers, in float32. A limit is that of `probes.vds` or `probes.angles` at
512 response tokens; at 2,048 it is 1.3 times as much.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from jsonargparse.typing import PositiveInt

from cli.options import Parser, flag, pick

if TYPE_CHECKING:
    import pandas as pd

LENGTHS, GROWTH = (512, 2048), 1.3
TRUNCATED = "--allow-truncated"  # a random model hardly ever ends its responses
_WRITE = "from pathlib import Path; from tests.published import SHAPES, write_pair; import sys; "
_WRITE += "write_pair(Path(sys.argv[1]), SHAPES['narrow'], SHAPES['narrow'])"


@dataclass(frozen=True)
class Reach:
    """A probe command, and the memory that it may take at 512 response tokens."""

    flags: tuple[str, ...]
    limit_gb: float


REACHES = {
    "vds": Reach(("probes.vds", "--limit", "16", TRUNCATED), 2.0),
    "angles": Reach(("probes.angles", "--limit", "4", "--per-bin", "1", TRUNCATED), 2.5),
}


def measured(command: Sequence[str], log: Path) -> tuple[float, float]:
    """Run a command; return the peak of its resident memory in GB, and its seconds.

    Raises:
        CalledProcessError: it failed; its output is in `log`.
    """
    began, peak = time.monotonic(), 0
    with (
        log.open("w") as said,
        subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process,
    ):
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            peak = max(peak, _peak_kb(status))
            time.sleep(0.05)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, log.read_text())
    return peak * 1024 / 1e9, time.monotonic() - began


def _peak_kb(status: Path) -> int:
    """The most that a process has held so far; 0 once it has ended."""
    lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) if lines else 0


def table(pair: Path, lengths: Sequence[int], names: Sequence[str], folder: Path) -> "pd.DataFrame":
    """Return a row for each command and length, printed as it is measured."""
    import pandas as pd  # here, so that --help is fast

    rows = []
    for name in names:
        for length in lengths:
            reach, out = REACHES[name], folder / f"{name}-{length}"
            models = [str(pair / "student"), "--teacher", str(pair / "teacher")]
            command = [sys.executable, "-m", *reach.flags, *models, "--max-response", str(length), "--out", str(out)]
            peak, seconds = measured(command, folder / f"{name}-{length}.log")
            limit = reach.limit_gb * (1.0 if length <= 512 else GROWTH)
            rows.append({"command": " ".join(reach.flags), "tokens": length, "peak_gb": round(peak, 2)})
            rows[-1] |= {"limit_gb": round(limit, 2), "seconds": round(seconds)}
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class ReachOptions:
    """What is measured"""

    pair: Path | None = flag(None, "folder with a student and a teacher (default: a random pair)", short="FOLDER")
    length: PositiveInt | None = flag(None, "response tokens (default: 512, then 2,048)")
    only: Literal["vds", "angles"] | None = flag(None, "one of the commands (default: both)")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table; 1 where a limit is passed."""
    parser = Parser("tests.benchmarks.reach", __doc__)
    parser.add_options(ReachOptions)
    options = pick(parser.parse_args(argv), ReachOptions)
    with TemporaryDirectory() as name:
        folder = Path(name)
        pair = options.pair or folder / "pair"
        if options.pair is None:
            subprocess.run([sys.executable, "-c", _WRITE, str(pair)], check=True)
        lengths = [options.length] if options.length else list(LENGTHS)
        measured_rows = table(pair, lengths, [options.only] if options.only else list(REACHES), folder)
    print(measured_rows.to_string(index=False))
    return int((measured_rows["peak_gb"] > measured_rows["limit_gb"]).any())


if __name__ == "__main__":
    sys.exit(main())
