"""Which of several processes this is, as a launcher such as `accelerate launch` says in the environment."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout

from cli.errors import OptionError


def rank() -> int:
    """Return the number of this process, from 0; that of the main process, which alone speaks, is 0."""
    return _number("RANK", 0)


def count() -> int:
    """Return the number of processes that were started together; 1 without a launcher."""
    return max(_number("WORLD_SIZE", 1), 1)


@contextmanager
def only_main_speaks() -> Iterator[None]:
    """Drop what a process other than the main one prints on stdout and stderr; tracebacks are still seen."""
    with ExitStack() as stack:
        if rank():
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        yield


def refuse_single_process() -> None:
    """Refuse to be the one process that `accelerate launch --cpu` starts, however many were asked for.

    Raises:
        OptionError: accelerate was asked for several processes and has started one.
    """
    launched = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    if launched and "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        raise OptionError(
            "`--num_processes` must be 1 with --cpu, with which accelerate starts one process whatever it is; replace"
            " --cpu by --multi_gpu, also on a CPU"
        )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default
