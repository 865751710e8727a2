"""Kill work at random moments and continue it; the result must be that of an uninterrupted run.

    python -m tests.faults.kills
    python -m tests.faults.kills --kills 5 --works record

Each work is killed and continued a few times over, then let end, and compared. Prints a line for each work and signal.
Kills count that came before the work had ended.
SIGTERM and SIGINT must end it with one line and code 143 or 130. The exit code is 1 if anything was lost.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.options import Parser

if TYPE_CHECKING:
    from tests.faults.kills_works import Work

NAMES = ("record", "probe", "training")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CHAIN = 5
"""Kills of one run before it is let end."""


@dataclass
class Count:
    """What came of the kills of a work by a signal."""

    kills: int = 0
    """Those that came before the work had ended."""
    runs: int = 0
    """Runs that were killed up to `CHAIN` times, let end and compared."""
    not_in_order: int = 0
    """Ends with a traceback, several lines or another exit code."""
    lost: int = 0
    """Runs that did not go on, or came to another result."""


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, continue, compare and print; return 1 if anything was lost."""
    parser = Parser("tests.faults.kills", __doc__)
    parser.add_argument("--kills", type=int, default=50, help="kills of each work by SIGKILL; a fifth by the others")
    parser.add_argument("--works", type=str, nargs="+", default=list(NAMES), help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parsed = parser.parse_args(argv)
    os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
    with tempfile.TemporaryDirectory() as place:
        return _kill_all(Path(place), parsed.works, parsed.kills, parsed.seed)


def _kill_all(place: Path, names: Sequence[str], kills: int, seed: int) -> int:
    import torch  # here, so that --help needs none of it

    from tests.faults.kills_works import works

    torch.set_num_threads(1)
    print(f"{'work':10} {'signal':8} {'kills':>6} {'runs':>5} {'not in order':>13} {'lost':>5}", flush=True)
    counts = []
    for name, work in works(place / "pair").items():
        if name not in names:
            continue
        draw, (seconds, wanted) = random.Random(f"{seed}/{name}"), _uninterrupted(work, place)
        for number in SIGNALS:
            count, wish = Count(), kills if number == signal.SIGKILL else max(kills // 5, 1)
            while count.kills < wish and count.runs < 4 * wish:
                _kill_and_go_on(work, place / "run", count, (number, seconds, draw), wanted)
            print(
                f"{name:10} {number.name:8} {count.kills:6} {count.runs:5} {count.not_in_order:13} {count.lost:5}",
                flush=True,
            )
            counts.append(count)
    return int(any(count.lost or count.not_in_order for count in counts))


def _uninterrupted(work: "Work", place: Path) -> tuple[float, object]:
    """Return how long a work takes, and its result."""
    from tests.faults.kills_children import Child

    folder, began = place / f"whole-{work.name}", time.monotonic()
    ended = Child(lambda: work.run(folder)).end()
    if ended.code:
        raise RuntimeError(f"{work.name} did not end: {ended.said}")
    return time.monotonic() - began, work.result(folder)


def _kill_and_go_on(
    work: "Work", folder: Path, count: Count, how: tuple[signal.Signals, float, random.Random], wanted: object
) -> None:
    """Kill one run a few times, let it end, and compare its result with what is wanted."""
    from tests.faults.kills_children import Child

    number, seconds, draw = how
    shutil.rmtree(folder, ignore_errors=True)
    count.runs += 1
    for _ in range(CHAIN):
        ended = Child(lambda: work.run(folder)).kill_after(draw.uniform(0, seconds), number)
        if ended.code == 0:
            break
        count.kills += 1
        right = ended.code == (-number if number == signal.SIGKILL else 128 + number)
        if not right or not (number == signal.SIGKILL or ended.in_order):
            count.not_in_order += 1
            print(f"{work.name}, {number.name}: code {ended.code}, {ended.said[-2000:]}", file=sys.stderr)
    ended = Child(lambda: work.run(folder)).end()
    if ended.code or work.result(folder) != wanted:
        count.lost += 1
        print(f"{work.name}, {number.name}: lost, code {ended.code}, {ended.said[-2000:]}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
