"""What steering does to a toy student that has no language gap at first: the tables of docs/theory.md.

    python -m tests.benchmarks.identity            # about 15 s
    python -m tests.benchmarks.identity --seeds 10

Prints two tables: means over seeds, with the least and the greatest. The first shows, for each arm, how far its weights
stand from those of standard distillation, as a share of the way that standard distillation has gone, and the losses
at the end. The second shows how far runs with gamma 2 and preservation stand from those without steering, at the same
lambda and at lambda / (1 + gamma).
"""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jsonargparse.typing import PositiveInt

from cli.errors import exit_code
from cli.options import Parser

if TYPE_CHECKING:
    from tests.geometry.toy_runs import Run

SEEDS = 3
AT_STEPS = (1, 2, 10, 100)
HEADER = (
    "| arm | step 1 | step 2 | step 10 | step 100 | standard loss | language loss |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)
GAMMA, LAMBDAS = 2.0, (0.01, 1.0, 10.0, 100.0)
PRESERVED_HEADER = ("| lambda | from gamma 0, lambda / 3 | from gamma 0, lambda |", "| --- | --- | --- |")


def arm_lines(n_seeds: int, names: Sequence[str] | None = None) -> list[str]:
    """Return the table of the arms, a line for each row. names: of the arms, all by default."""
    from tests.geometry.toy_runs import ARMS, run

    seeds = range(n_seeds)
    standard = [run(ARMS["standard"], seed) for seed in seeds]
    before = [run(ARMS["standard"], seed, 0) for seed in seeds]
    rows = [*HEADER, " | ".join(["| before training", *[""] * len(AT_STEPS), *_losses(before)]) + " |"]
    for name in names or ARMS:
        runs = standard if name == "standard" else [run(ARMS[name], seed) for seed in seeds]
        rows.append(" | ".join([f"| {name}", *_ways(runs, standard), *_losses(runs)]) + " |")
    return rows


def preserved_lines(n_seeds: int) -> list[str]:
    """Return the table of steering with preservation, a line for each row."""
    from tests.geometry.toy_runs import STEPS, preserved, run

    rows = list(PRESERVED_HEADER)
    for lambda_ in LAMBDAS:
        cells = []
        for weight in (lambda_ / (1 + GAMMA), lambda_):
            pairs = ((run(preserved(lambda_), seed), run(preserved(weight, 0.0), seed)) for seed in range(n_seeds))
            cells.append(_words([one.way_from(other, STEPS) for one, other in pairs], _percent))
        rows.append(" | ".join([f"| {lambda_:g}", *cells]) + " |")
    return rows


def _ways(runs: "Sequence[Run]", standard: "Sequence[Run]") -> list[str]:
    ways = [[one.way_from(other, step) for one, other in zip(runs, standard, strict=True)] for step in AT_STEPS]
    return [_words(step, _percent) for step in ways]


def _losses(runs: "Sequence[Run]") -> list[str]:
    ends = [one.standard_nats for one in runs], [one.language_nats for one in runs]
    return [_words(losses, "{:.3f}".format) for losses in ends]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share > 1e-12 else "0"


def _words(values: Sequence[float], text: Callable[[float], str]) -> str:
    """Return the mean, with the least and the greatest where these differ in print."""
    least, greatest = text(min(values)), text(max(values))
    mean = text(sum(values) / len(values))
    return mean if least == greatest else f"{mean} ({least} to {greatest})"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; return the exit code."""
    parser = Parser("tests.benchmarks.identity", __doc__)
    parser.add_argument("--seeds", type=PositiveInt, default=SEEDS, help=f"number of seeds (default: {SEEDS})")
    parsed = parser.parse_args(argv)
    return exit_code(lambda: _print(parsed.seeds))


def _print(n_seeds: int) -> None:
    print("\n".join([*arm_lines(n_seeds), "", *preserved_lines(n_seeds)]))


if __name__ == "__main__":
    sys.exit(main())
