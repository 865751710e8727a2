"""Hostile inputs into every public function of `geometry` and `stats`, against twins.

    python -m tests.faults.geometry_fuzz                 # 20 inputs a case: seconds
    python -m tests.faults.geometry_fuzz --rounds 1000   # minutes

Prints for each case how many inputs were right, nan by rule, and refused. It stops at the first that was none of these.
"""

import ast
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jsonargparse.typing import PositiveInt

from cli.options import Parser, flag, pick
from tests.faults import (  # noqa: F401
    geometry_logits,
    geometry_losses,
    geometry_models,
    geometry_numbers,
    geometry_targets,
    statistics_cases,
)
from tests.faults.judging import CASES, Tally

ROOT = Path(__file__).resolve().parents[2]
STUBS = {name: ROOT / name / "__init__.pyi" for name in ("geometry", "stats")}


@dataclass(frozen=True)
class FuzzOptions:
    """How many inputs."""

    rounds: PositiveInt = flag(20, "inputs for each case")
    seed: int = flag(0, "of the inputs")


def public_names(package: str) -> list[str]:
    """Return the functions and classes that a package's stub lists: what is no constant in capitals."""
    tree = ast.parse(STUBS[package].read_text())
    names = [
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    return [name for name in names if not name.isupper()]


def run(rounds: int, seed: int = 0) -> Tally:
    """Run each case with so many inputs.

    Raises:
        AssertionError: an input was neither right, nor nan by rule, nor refused.
    """
    torch.set_num_threads(1)
    tally = Tally()
    for fuzz in dict.fromkeys(fuzz for each in CASES.values() for fuzz in each):
        tally.run(fuzz, rounds, seed)
    return tally


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = Parser("tests.faults.geometry_fuzz", __doc__)
    parser.add_options(FuzzOptions)
    options = pick(parser.parse_args(argv), FuzzOptions)
    print("\n".join(run(options.rounds, options.seed).lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
