"""What does one thread cost, by the size of a model?

    python -m tests.benchmarks.threads          # on an idle machine: minutes

A random pair of each size scores the same responses and measures the gradients of the same tokens, with one thread and
with all that torch takes, in turn. `vlm.checkpoints.threads.SMALL` is chosen from this table. Prints it.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jsonargparse.typing import PositiveInt

from cli.errors import exit_code
from cli.options import Parser, flag, pick
from cli.tables import aligned

WIDTHS = {"256 wide": (256, 4), "384 wide": (384, 6), "512 wide": (512, 8), "768 wide": (768, 10)}
"""Width and layers of the language models, about 1 to 100 million parameters."""


@dataclass(frozen=True)
class Options:
    """What is measured"""

    rounds: PositiveInt = flag(3, "times that each is measured; the table has medians")
    limit: PositiveInt = flag(8, "number of prompts")


def seconds(folder: Path, limit: int) -> tuple[int, float]:
    """Return the parameters of a folder's student, and the seconds of its angles without loading."""
    from probes import Analyzer

    sizes = {"limit": limit, "max_response": 32, "bins": 4, "allow_truncated": True}
    analyzer = Analyzer(str(folder), teacher=str(folder), **sizes)
    analyzer.rollouts  # noqa: B018  # not timed
    began = time.perf_counter()
    analyzer.angles(per_bin=8)
    n = sum(parameter.numel() for parameter in analyzer.student.model.parameters())
    return n, time.perf_counter() - began


def rows(options: Options) -> list[list[str]]:
    """Return the lines of the table: sizes, and medians over the rounds with one thread and with all."""
    import torch

    from tests.models import write_checkpoint

    most, lines = torch.get_num_threads(), []
    for name, (width, layers) in WIDTHS.items():
        sizes = {"layers": layers, "width": width, "heads": 4, "mlp": 3 * width, "vision_layers": 2, "vision_width": 64}
        with tempfile.TemporaryDirectory() as written:
            folder = write_checkpoint(Path(written) / "model", sizes, seed=1)
            taken: dict[int, list[float]] = {1: [], most: []}
            for _ in range(options.rounds):
                for n_threads, each in taken.items():
                    torch.set_num_threads(n_threads)
                    n_parameters, spent = seconds(folder, options.limit)
                    each.append(spent)
        one, every = (statistics.median(taken[n]) for n in (1, most))
        lines.append([name, f"{n_parameters / 1e6:.1f}", f"{one:.1f}", f"{every:.1f}", f"{one / every:.2f}"])
    return [["model", "million parameters", "1 thread s", f"{most} threads s", "ratio"], *lines]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = Parser("tests.benchmarks.threads", __doc__)
    parser.add_options(Options)
    return exit_code(lambda: print(aligned(rows(pick(parser.parse_args(argv), Options)))))


if __name__ == "__main__":
    sys.exit(main())
