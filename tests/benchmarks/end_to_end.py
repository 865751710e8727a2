"""How much faster is `probes.angles` than at another commit, from start to end and by stage?

    python -m tests.benchmarks.end_to_end                          # the bundled pair, 64 prompts, 64 tokens of each bin
    python -m tests.benchmarks.end_to_end --against HEAD~1 --rounds 5

This checkout, with what is not committed, and the other commit, in a git worktree that is taken away again, run in
turn, each time in a process of its own with one thread. Prints seconds of processor time by stage, the least of all
rounds, and how many times as fast this checkout is; nothing is written. `other` is loading, tables and files.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jsonargparse.typing import PositiveInt

from cli.errors import OptionError, Stopped, exit_code
from cli.options import Parser, flag, pick
from cli.tables import aligned
from tests.benchmarks.stage_seconds import STAGES

ROOT = Path(__file__).resolve().parents[2]
TOGETHER = ("scoring", "gradients", "null")
LEAST = 2.0
"""How much faster these must be than at the commit of the default."""

Seconds = Mapping[str, float]


@dataclass(frozen=True)
class Options:
    """What is measured"""

    against: str = flag("700337c", "commit to compare with")
    rounds: PositiveInt = flag(3, "times that each is run")
    limit: PositiveInt = flag(64, "number of prompts")
    per_bin: PositiveInt = flag(64, "tokens probed in each bin")


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Give a folder with the files of a commit, for as long as the block runs.

    Raises:
        OptionError: there is no such commit here.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "checkout"
        done = _git("worktree", "add", "--detach", str(place), commit)
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1]
            raise OptionError(
                f"`against` must be a commit of this repository, got {commit!r} ({reason}); choose one of `git log`"
            )
        try:
            yield place
        finally:
            _git("worktree", "remove", "--force", str(place))


def _git(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)


def seconds_of(checkout: Path, options: Options) -> Seconds:
    """Run the command from a checkout; return its seconds by stage, `other` and `all`.

    Raises:
        Stopped: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, script = Path(folder) / "seconds.json", ROOT / "tests" / "benchmarks" / "stage_seconds.py"
        flags = ["--limit", str(options.limit), "--per-bin", str(options.per_bin), "--out", f"{folder}/record"]
        line = [sys.executable, "-P", str(script), str(report), *flags]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}
        done = subprocess.run(line, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Stopped(f"probes.angles of {checkout} failed:\n{done.stderr[-2000:]}")
        found: dict[str, float] = json.loads(report.read_text())
    return found | {"other": found["all"] - sum(found[stage] for stage in STAGES)}


def table(here: Sequence[Seconds], there: Sequence[Seconds], commit: str) -> str:
    """Return the table that is printed: the least seconds of the rounds, and their ratio."""
    joined = " + ".join(TOGETHER)
    both = [[{**one, joined: sum(one[stage] for stage in TOGETHER)} for one in runs] for runs in (here, there)]
    lines = [["stage", f"{commit} s", "here s", "times as fast"]]
    for stage in (*STAGES, "other", joined, "all"):
        new, old = (min(one[stage] for one in runs) for runs in both)
        lines.append([stage, f"{old:.2f}", f"{new:.2f}", f"{old / new:.2f}"])
    return aligned(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = Parser("tests.benchmarks.end_to_end", __doc__)
    parser.add_options(Options)
    return exit_code(lambda: _run(pick(parser.parse_args(argv), Options)))


def _run(options: Options) -> None:
    here, there = list[Seconds](), list[Seconds]()
    with checked_out(options.against) as other:
        for _ in range(options.rounds):
            there.append(seconds_of(other, options))
            here.append(seconds_of(ROOT, options))
    print(table(here, there, options.against))
    print(f"load of the machine {os.getloadavg()[0]:.1f}; at least {LEAST} is asked of {' + '.join(TOGETHER)}")


if __name__ == "__main__":
    sys.exit(main())
