"""What a command of the trainer exits with: mistakes and runs that cannot go on are one line on stderr."""

import sys
from collections.abc import Callable

from records import RecordError
from train.config import ConfigError
from train.loop import TrainingError
from vlm.checkpoint import CheckpointError
from vlm.sources import PromptError
from vlm.views import ViewError

REFUSED, STOPPED = 2, 1


def exit_code(main: Callable[[], None]) -> int:
    """Run `main`; 2 for what cannot be done as asked, 1 for training that stopped."""
    try:
        main()
    except (ConfigError, CheckpointError, PromptError, RecordError, ViewError) as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    except TrainingError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return STOPPED
    return 0
