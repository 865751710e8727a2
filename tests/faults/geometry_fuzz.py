"""Hostile inputs into every public function of `geometry` and `stats`, against twins.

    python -m tests.faults.geometry_fuzz                 # 20 inputs a case: seconds
    python -m tests.faults.geometry_fuzz --rounds 1000   # minutes

Prints for each case how many inputs were right, nan by rule, and refused. It stops at the first that was none of these.
"""

import ast
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from jsonargparse.typing import PositiveInt

from cli.options import Parser
from tests.faults import geometry_logits, geometry_losses, geometry_models, geometry_numbers, statistics_cases  # noqa: F401
from tests.faults.judging import CASES, Tally

ROOT = Path(__file__).resolve().parents[2]
STUBS = {name: ROOT / name / "__init__.pyi" for name in ("geometry", "stats")}


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
    parser = Parser(prog="python -m tests.faults.geometry_fuzz", description=__doc__)
    parser.add_argument("--rounds", type=PositiveInt, default=20, help="inputs a case")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs")
    options = parser.parse_args(argv)
    print("\n".join(run(options.rounds, options.seed).lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
