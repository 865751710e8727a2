"""Work that processes share and that comes out as if one had done it: micro-batches are cut alike and put in order."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import gather_object

from cli.errors import UserError

T = TypeVar("T")
R = TypeVar("R")


def shared(
    accelerator: Accelerator, items: Sequence[T], size: int, work: Callable[[Sequence[T]], Sequence[R]]
) -> list[R]:
    """Return what `work` makes of each micro-batch of `size` items, joined in order; all processes must call it.

    What is returned travels between processes: tensors should be on the CPU.

    Raises:
        UserError: `work` raised it, in this process or another.
    """
    rank, n = accelerator.process_index, accelerator.num_processes
    cuts = range(0, len(items), size)
    made: list[tuple[int, Sequence[R] | UserError]] = []
    for start in cuts[rank::n]:
        try:
            made.append((start, work(items[start : start + size])))
        except UserError as error:  # else the others wait for a process that has ended
            made.append((start, error))
            break
    results = dict(gather_object(made) if n > 1 else made)
    for result in results.values():
        if isinstance(result, UserError):
            raise result
    return [one for start in cuts for one in results[start]]
