"""Batches that are cut smaller where memory runs out."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from cli.errors import UserError
from cli.visible import print_err
from geometry.memory import is_out_of_memory

R = TypeVar("R")


class TooLargeError(UserError):
    """Memory runs out even for one item."""


class Batches:
    """Cuts work into batches; where memory runs out, halves the batch for the rest of its life, and says so.

    size: items in a batch, now.
    flag: the option that names the size, for messages.
    fixed: why the size must stay as it is, a clause for messages; empty where it need not.
    """

    def __init__(self, size: int, flag: str, fixed: str = "") -> None:
        self.size, self._flag, self._fixed = size, flag, fixed

    def over(self, n_items: int, work: Callable[[slice], R]) -> Iterator[tuple[slice, R]]:
        """Yield each batch of `n_items` and what `work` makes of it, in order.

        Raises:
            TooLargeError: a batch of one does not fit, or one whose size is fixed.
        """
        start = 0
        while start < n_items:
            part = slice(start, min(start + self.size, n_items))
            try:
                result = work(part)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                size = part.stop - part.start
            else:
                start = part.stop
                yield part, result
                continue
            self.halve(size)  # outside of the handler, whose error still holds the tensors of the failed batch

    def halve(self, size: int) -> None:
        """Go on with half of a size that did not fit.

        Raises:
            TooLargeError: as `over`.
        """
        if self._fixed and size > 1:
            raise TooLargeError(
                f"`{self._flag}` of {size} must fit into memory, it does not, and {self._fixed}; give a smaller one"
            )
        if size == 1:
            raise TooLargeError(
                f"`{self._flag}` of 1 must fit into memory, it does not; choose a smaller model, shorter responses"
                " (max_response), smaller pictures (max_pixels), or a lower dtype"
            )
        self.size = size // 2
        said = f"note: out of memory at a {self._flag} of {size}, going on with {self.size}"
        print_err(said)
