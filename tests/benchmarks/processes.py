"""How much faster do two processes score and measure gradients than one?

    python -m tests.benchmarks.processes                  # the bundled pair, 64 prompts, 64 tokens of each bin
    python -m tests.benchmarks.processes --per-bin 16     # quicker

Each process has one thread. Loading and responses are done before the clock starts; scoring, gradients and the null
are measured, by the clock of the wall and by the processor time of the busiest process. Where other programs use the
cores the second says how evenly the work is dealt, and the first says little. Prints a table; nothing is written.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jsonargparse.typing import PositiveInt

from cli.errors import Stopped, exit_code
from cli.options import Parser, flag, pick
from cli.tables import aligned
from tests.launch import together

LEAST = 1.8
"""How much faster two processes must be."""


@dataclass(frozen=True)
class Options:
    """What is measured"""

    limit: PositiveInt = flag(64, "number of prompts")
    per_bin: PositiveInt = flag(64, "tokens probed in each bin")
    processes: PositiveInt = flag(2, "number of processes that are compared with one")


@dataclass(frozen=True)
class Spent:
    """Seconds of the wall, and of the processor by the busiest process."""

    wall_s: float
    cpu_s: float


def work(limit: int, per_bin: int, out: Path) -> None:
    """Measure, and write the seconds of this process to `out`."""
    import torch

    from probes import Analyzer, angles, processes, stages

    torch.set_num_threads(1)
    spent: dict[str, float] = {}

    def measure(analyzer: Analyzer, units: angles.UnitOptions, checks: angles.CheckOptions) -> Mapping:
        rollouts = stages.rollout_table(analyzer)
        analyzer.shards.everyone(None)  # all begin together
        wall, cpu = time.perf_counter(), time.process_time()
        chosen = stages.choose_units(analyzer.tokens, units, analyzer.seed)
        rows = {"units": stages.unit_rows, "grams": stages.gram_rows}
        tables = stages.measure_gradients(analyzer, analyzer.pair.student.groups, chosen, rows)
        stages.measure_null(analyzer, chosen)
        spent.update(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)
        return {"rollouts": rollouts, "tokens": analyzer.tokens, **tables}

    with processes.joined() as team:
        Analyzer(limit=limit).measure(replace(angles.PROBE, measure=measure), per_bin=per_bin)
        (out / f"{team.rank}.json").write_text(json.dumps(spent))


def spent_by(n: int, options: Options) -> Spent:
    """Run `n` processes and return what they took.

    Raises:
        Stopped: one of them failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        code = f"from pathlib import Path; from tests.benchmarks.processes import work; work({options.limit}, "
        ended = together(n, "-c", code + f"{options.per_bin}, Path({folder!r}))")
        if failed := [each for each in ended if each.code]:
            raise Stopped(failed[0].err[-2000:])
        seconds = [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(n)]
    return Spent(max(each["wall_s"] for each in seconds), max(each["cpu_s"] for each in seconds))


def table(one: Spent, several: Spent, n: int) -> str:
    """Return the table that is printed."""
    titles = ["processes", "wall s", "busiest process, processor s"]
    rows = [[str(k), f"{spent.wall_s:.1f}", f"{spent.cpu_s:.1f}"] for k, spent in ((1, one), (n, several))]
    wall, cpu = one.wall_s / several.wall_s, one.cpu_s / several.cpu_s
    return aligned([titles, *rows, ["times as fast", f"{wall:.2f}", f"{cpu:.2f}"]])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = Parser("tests.benchmarks.processes", __doc__)
    parser.add_options(Options)
    return exit_code(lambda: _run(pick(parser.parse_args(argv), Options)))


def _run(options: Options) -> None:
    one, several = spent_by(1, options), spent_by(options.processes, options)
    print(table(one, several, options.processes))
    if options.processes == 2:
        print(f"at least {LEAST} is asked of two")


if __name__ == "__main__":
    sys.exit(main())
