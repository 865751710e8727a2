"""Distil a student on its own rollouts.

    python -m train                                        # the bundled pair, vgs-lp, 100 steps
    accelerate launch --multi_gpu --num_processes 2 -m train --objective vgs

With `--device cpu`, the default, the second starts two processes on the CPU (accelerate's own `--cpu` starts one).
See `train.config` for the flags and `train.loop` for what is written.
"""

import sys
from collections.abc import Sequence

from records import RecordError
from train.config import ConfigError, parse
from train.loop import TrainingError, train
from vlm.checkpoint import CheckpointError
from vlm.sources import PromptError
from vlm.views import ViewError

REFUSED, STOPPED = 2, 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run; a user's mistake becomes one line on stderr and exit code 2, a run that cannot go on exit code 1."""
    try:
        folder = train(parse(argv))
    except (ConfigError, CheckpointError, PromptError, RecordError, ViewError) as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    except TrainingError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return STOPPED
    print(f"run: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
