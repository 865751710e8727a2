"""What stages do where memory runs out: they go on with less at a time and say so, or say what to change."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from cli.visible import print_err
from geometry.memory import is_out_of_memory
from vlm.responses.halving import TooLargeError

R = TypeVar("R")

LOGITS_BYTES = 1 << 30
"""At most so many bytes of logits and their cotangents are held of a response; its other units come later."""


def note(line: str) -> None:
    """Print a note for the user."""
    print_err(f"note: {line}")


@contextmanager
def room_for(what: str) -> Iterator[None]:
    """Turn errors of memory that runs out into one line.

    Raises:
        TooLargeError: memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    else:
        return
    raise TooLargeError(
        f"`max_response` must leave room for {what}, memory runs out; choose shorter responses, fewer `parameters`,"
        " a lower `dtype` or a smaller model"
    )


def tried(work: Callable[[], R]) -> R | None:
    """Return what work returns; None where memory ran out, when all that it held is free again."""
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None


def probed_at_once(n_ids: int, n_seeds: int = 0) -> int:
    """Return how many tokens of a response are probed at a time.

    Thirteen tensors as wide as the vocabulary are held of each for a moment: four logits, their logarithms, and five
    cotangents. n_seeds: further ones.
    """
    return max(LOGITS_BYTES // (4 * n_ids * (13 + n_seeds)), 1)
