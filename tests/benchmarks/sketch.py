"""What `--sketch R` costs in angle and saves in time, on random models against the exact engine.

    python -m tests.benchmarks.sketch                      # models of 10M and 30M parameters; some minutes
    python -m tests.benchmarks.sketch --sizes 2M --length 64 --columns 8 --rounds 1

A random Qwen3-VL with 64 visual tokens and a response of 512 tokens, 8 of them probed, in float32, one thread. In each
round every way measures the tokens once, with a seed of its own for the sketch. Errors are those of single tokens over
the whole model, against the exact engine: mean and greatest absolute difference of the angle between language and
visual gradient, q* detached and attached, and the same of norms as a share. Seconds are of processor time, the least
of the rounds. Prints a table in markdown.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jsonargparse.typing import PositiveInt

from cli.errors import exit_code
from cli.options import Parser, flag, pick

if TYPE_CHECKING:
    from geometry import Gram, Gramian
    from tests.benchmarks.ways import Job

_HEAD = (
    "| model | R | seconds | / exact | lang-vis, degrees: mean, greatest | attached | norms, % |\n"
    "|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class SketchOptions:
    """What is measured"""

    sizes: Sequence[Literal["2M", "4M", "10M", "30M"]] = flag(("10M", "30M"), "random models", short="SIZE")
    columns: Sequence[PositiveInt] = flag((8, 16, 32, 64, 128), "random combinations of each weight's columns")
    length: PositiveInt = flag(512, "tokens of the response")
    probed: PositiveInt = flag(8, "tokens whose Gram matrices are measured")
    rounds: PositiveInt = flag(3, "rounds, each with another seed of the sketch")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the flags ask for; return the exit code."""
    parser = Parser("tests.benchmarks.sketch", __doc__)
    parser.add_options(SketchOptions)
    options = pick(parser.parse_args(argv), SketchOptions)
    return exit_code(lambda: run(options))


def run(options: SketchOptions) -> None:
    """Print the table, the lines of a model as soon as they are measured."""
    import torch  # here, so that --help needs no model library

    from tests.benchmarks.objects import random

    torch.set_num_threads(1)
    print(_HEAD, flush=True)
    for size in options.sizes:
        (job,) = random(size, size, options.length, options.probed).jobs
        print(*lines_of(size, job, options), sep="\n", flush=True)


def lines_of(size: str, job: "Job", options: SketchOptions) -> list[str]:
    """Return a line for the exact engine and for each number of columns."""
    from geometry import Gramian
    from vlm.families import parameter_groups

    widths, groups = (None, *options.columns), parameter_groups(job.model)
    seconds = dict.fromkeys(widths, float("inf"))
    grams: dict[int | None, list[Gram]] = {width: [] for width in widths}
    for seed in range(options.rounds):
        for width in widths:
            print(f"{size}: round {seed}, R {width}", file=sys.stderr, flush=True)
            engine, began = Gramian(job.model, groups, sketch=width, seed=seed), time.process_time()
            grams[width].append(_grams(engine, job))
            seconds[width] = min(seconds[width], time.process_time() - began)
    lines = [f"| {size} | exact | {seconds[None]:.2f} | 1 | | | |"]
    for width in options.columns:
        cells = " | ".join(_errors(grams[None][0], grams[width]))
        lines.append(f"| {size} | {width} | {seconds[width]:.2f} | {seconds[width] / seconds[None]:.2f} | {cells} |")
    return lines


def _grams(engine: "Gramian", job: "Job") -> "Gram":
    """The Gram matrices of the probed tokens over the whole model."""
    import torch

    from geometry import ProbedResponse, total

    response = ProbedResponse(job.image, job.text, job.cotangents.at(job.positions), job.positions)
    return total(engine.units(response, torch.eye(len(job.positions))))


def _errors(exact: "Gram", others: "Sequence[Gram]") -> list[str]:
    """Mean and greatest error of both angles, and of the norms of the objectives."""
    import numpy as np

    from geometry import OBJECTIVES
    from geometry.gram import ANGLES

    cells = []
    for name in ("angle_language_visual", "angle_language_visual_attached"):
        apart = np.abs([gram.angle_deg(*ANGLES[name]) - exact.angle_deg(*ANGLES[name]) for gram in others])
        cells.append(f"{apart.mean():.2f}, {apart.max():.2f}")
    shares = np.abs([[gram.norm(name) / exact.norm(name) - 1 for name in OBJECTIVES] for gram in others])
    return [*cells, f"{100 * shares.mean():.2f}, {100 * shares.max():.2f}"]


if __name__ == "__main__":
    sys.exit(main())
