"""Distil a student on its own rollouts.

    python -m train                                        # the bundled pair, vgs-lp, 100 steps
    accelerate launch --multi_gpu --num_processes 2 -m train --objective vgs

With `--device cpu`, the default, the second starts two processes on the CPU (accelerate's own `--cpu` starts one).
See `train.config` for the flags and `train.loop` for what is written.
"""

import sys
from collections.abc import Sequence

from cli.errors import exit_code
from train.config import parse
from train.loop import train


def main(argv: Sequence[str] | None = None) -> int:
    """Run; a user's mistake becomes one line on stderr and exit code 2, a run that cannot go on exit code 1."""
    return exit_code(lambda: print(f"run: {train(parse(argv))}"))


if __name__ == "__main__":
    sys.exit(main())
