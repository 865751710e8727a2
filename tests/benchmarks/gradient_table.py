"""The table of `tests.benchmarks.gradients`: time, memory and error of each way, measured and written out."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tests.benchmarks.contest import Contest, errors, work_of
from tests.benchmarks.memory import peak_bytes
from tests.benchmarks.objects import Object
from tests.benchmarks.ways import WAYS

if TYPE_CHECKING:
    from tests.benchmarks.gradients import GradientOptions


def rows_of(found: Object, ways: Sequence[str], options: "GradientOptions") -> list[dict]:
    """A row of the table for each way and number of threads."""
    work, rows, chunks = work_of(found, ways), [], {}
    for threads in options.threads:
        torch.set_num_threads(threads)
        print(f"{found.name}, {threads} thread(s)", file=sys.stderr, flush=True)
        contest = Contest(work)
        contest.run(options.repeats or found.repeats)
        chunks = contest.chunks
        for key in ways:
            spent = contest.ms_a_token(key)
            rows.append({"object": found.name, "threads": threads, "way": key, "chunk": contest.chunks.get(key)})
            rows[-1] |= {"tokens": sum(len(job.positions) for job in work[key]), "rounds": len(spent)}
            rows[-1] |= {"best_ms": spent.min(), "median_ms": spent.median()}
        last = contest.found
        del contest  # and with it the hooks of TorchJD's engine
    largest = errors(work, last)
    memory = {key: peak_bytes(key, found.name, options.per_response, chunks.get(key, 1)) for key in ways}
    return [row | {"memory_mb": memory[row["way"]] / 1e6, "error": largest[row["way"]]} for row in rows]


def table(rows: pd.DataFrame) -> str:
    """The rows in markdown; ratios are of the best times."""
    lines = ["| object | threads | way | chunk | ms a token, best | median | a / this | peak, MB | error |"]
    lines.append("|---" * 9 + "|")
    for row in rows.to_dict("records"):
        chunk = "" if pd.isna(row["chunk"]) else f"{row['chunk']:.0f}"
        ratio = "" if pd.isna(row["ratio"]) else f"{row['ratio']:.1f}"
        cells = [row["object"], row["threads"], f"{row['way']}: {WAYS[row['way']].name}", chunk]
        cells += [f"{row['best_ms']:.1f}", f"{row['median_ms']:.1f}", ratio]
        cells += [f"{row['memory_mb']:.0f}", f"{row['error']:.1e}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def with_ratios(rows: Sequence[dict]) -> pd.DataFrame:
    """How many times as fast as way (a) each is."""
    frame = pd.DataFrame(rows)
    plain = frame[frame["way"] == "a"].set_index(["object", "threads"])["best_ms"]
    of_plain = [plain.get((row["object"], row["threads"])) for row in rows]
    return frame.assign(ratio=pd.Series(of_plain, dtype=float) / frame["best_ms"])
