"""Time, memory and error of the ways of getting a token's Gram matrices (`tests.benchmarks.ways`): `make bench`.

    python -m tests.benchmarks.gradients                                    # everything
    python -m tests.benchmarks.gradients --ways a f --models bundled --threads 1 --repeats 2    # under a minute
    python -m tests.benchmarks.gradients --growth                           # a plot of what the time grows with

Objects: `bundled`, the student's own responses with `--per-response` tokens probed in each; `bundled-all`, all tokens
of a few; `random-10M` and `random`, Qwen3-VLs of 10M and 30M parameters with a response of 512 tokens.

All ways take turns within a round, so that a drift of the machine meets each alike. Where a way runs tokens in chunks,
a short trial picks the size. Memory is what the peak of a process of its own has on top of the loaded model, on the
longest response, one thread. The error is to our engine in float64, max |dG_ab| / sqrt(G_aa G_bb).

Writes `gradients.md` and `gradients.csv`, or `growth.png` and `growth.csv`, into `--out`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jsonargparse.typing import PositiveInt

from cli.errors import exit_code
from cli.options import Parser, flag, pick


@dataclass(frozen=True)
class GradientOptions:
    """What is measured, and where the tables are written"""

    ways: Sequence[Literal["a", "b", "c", "d", "e", "f", "g"]] = flag(
        (), "ways (default: all; a c f for the growth)", short="WAY"
    )
    models: Sequence[Literal["bundled", "bundled-all", "random-10M", "random"]] = flag(
        ("bundled", "bundled-all", "random-10M", "random"), "models whose responses are probed", short="MODEL"
    )
    threads: Sequence[PositiveInt] = flag((1, 2), "threads of torch; the growth takes the first")
    per_response: PositiveInt = flag(10, "tokens probed in each response of bundled")
    repeats: PositiveInt | None = flag(None, "rounds (default: 5 on the bundled student, else 3)")
    growth: bool = flag(False, "draw what the time grows with instead")
    out: Path = flag(Path("runs/bench"), "folder of the tables", short="FOLDER")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the flags ask for; return the exit code."""
    parser = Parser("tests.benchmarks.gradients", __doc__)
    parser.add_options(GradientOptions)
    options = pick(parser.parse_args(argv), GradientOptions)
    return exit_code(lambda: _run(options))


def _run(options: GradientOptions) -> None:
    from tests.benchmarks.growth import draw_growth  # here, so that --help needs no model library
    from vlm.checkpoints.checkpoint import quiet

    quiet()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.growth:
        draw_growth(options.ways or ["a", "c", "f"], options.threads[0], options.repeats or 3, options.out)
    else:
        _write_table(options)


def _write_table(options: GradientOptions) -> None:
    from tests.benchmarks.gradient_table import rows_of, table, with_ratios
    from tests.benchmarks.objects import OBJECTS
    from tests.benchmarks.ways import WAYS

    objects = [OBJECTS[name](options.per_response) for name in options.models]
    rows = [row for each in objects for row in rows_of(each, options.ways or list(WAYS), options)]
    frame = with_ratios(rows)
    frame.to_csv(options.out / "gradients.csv", index=False)
    text = "\n".join([*(f"- {each.describe()}" for each in objects), "", table(frame)])
    (options.out / "gradients.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
