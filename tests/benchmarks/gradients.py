"""Time, memory and error of the ways of getting a token's Gram matrices (`tests.benchmarks.ways`): `make bench`.

    python -m tests.benchmarks.gradients                                    # everything
    python -m tests.benchmarks.gradients --ways a f --models bundled --threads 1 --repeats 2    # under a minute
    python -m tests.benchmarks.gradients --growth                           # a plot of what the time grows with

Objects: `bundled`, the student's own responses with `--per-response` tokens probed in each; `bundled-all`, all tokens
of a few; `random`, a 30M-parameter Qwen3-VL with a response of 512 tokens.

All ways take turns within a round, so that a drift of the machine meets each alike. Where a way runs tokens in chunks,
a short trial picks the size. Memory is what the peak of a process of its own has on top of the loaded model, on the
longest response, one thread. The error is to our engine in float64, max |dG_ab| / sqrt(G_aa G_bb).

Writes `gradients.md` and `gradients.csv`, or `growth.png` and `growth.csv`, into `--out`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from tests.benchmarks.contest import Contest, errors, work_of
from tests.benchmarks.growth import draw_growth
from tests.benchmarks.memory import peak_bytes
from tests.benchmarks.objects import OBJECTS, Object
from tests.benchmarks.ways import WAYS
from vlm.checkpoint import quiet


def rows_of(found: Object, ways: Sequence[str], options: argparse.Namespace) -> list[dict]:
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


def main(argv: Sequence[str] | None = None) -> None:
    """Run what the flags ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=WAYS, help="all; of the growth, a c f")
    parser.add_argument("--models", nargs="+", choices=OBJECTS, default=list(OBJECTS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--per-response", type=int, default=10, help="tokens probed in each response of `bundled`")
    parser.add_argument("--repeats", type=int, help="rounds; by default 5 on the bundled student and 3 on `random`")
    parser.add_argument("--growth", action="store_true", help="draw what the time grows with instead")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args(argv)
    quiet()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.growth:
        draw_growth(options.ways or ["a", "c", "f"], options.threads[0], options.repeats or 3, options.out)
        return
    objects = [OBJECTS[name](options.per_response) for name in options.models]
    rows = [row for found in objects for row in rows_of(found, options.ways or list(WAYS), options)]
    frame = with_ratios(rows)
    frame.to_csv(options.out / "gradients.csv", index=False)
    text = "\n".join([*(f"- {found.describe()}" for found in objects), "", table(frame)])
    (options.out / "gradients.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
