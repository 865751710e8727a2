"""How many units go backward at once: as many as memory holds, and half as many where it ran out.

On an accelerator the memory that a unit takes is measured, by the change of the peak over a chunk: gradients at the
outputs of all modules, seeds, and what products need meanwhile. On a CPU, where no such count is kept, it is the
bytes of the gradients at the outputs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from geometry.memory import Peak, free_bytes

SHARE = 0.5
"""Of the free memory that a chunk may take; the rest is for what its estimate leaves out."""
CPU_BYTES = 1 << 26
"""At most so many bytes of gradients in a chunk on a CPU: larger chunks are no faster there (LOG.md)."""
_TEMPORARY = 3  # copies of the gradients that are alive at a time, until that is measured


class WorkingSet:
    """The number of units in a chunk.

    Args:
        device: of the model.
        size: the number, where it is chosen by hand.
        say: is told where memory ran out.
    """

    def __init__(self, device: torch.device, size: int | None, say: Callable[[str], None]) -> None:
        self._device, self._most, self._say = device, size, say
        self._chosen = size is not None
        self._fixed = self._measured = self._largest = 0
        self._bytes: dict[object, int] = {}
        self._free = 0

    def knows(self, view: object) -> bool:
        """Return whether it was noted what a unit takes in a view."""
        return view in self._bytes

    def note(self, view: object, nbytes: int) -> None:
        """Note the bytes of the gradients of one unit in a view; the most that was noted counts."""
        self._bytes[view] = max(nbytes, self._bytes.get(view, 1))

    def forget(self) -> None:
        """Forget what units take."""
        self._bytes.clear()
        self._fixed = self._measured = self._largest = 0

    def look(self) -> None:
        """See how much memory is free."""
        self._free = int(SHARE * free_bytes(self._device))

    @property
    def size(self) -> int:
        """Units in a chunk, now."""
        if self._chosen:
            assert self._most is not None
            return self._most
        a_unit = sum(self._bytes.values())
        if self._device.type == "cpu":
            fitting = min(self._free, CPU_BYTES) // a_unit
        else:
            fitting = (self._free - self._fixed) // (self._measured or _TEMPORARY * a_unit)
        return max(min(fitting, self._most or fitting), 1)

    @contextmanager
    def measured(self, n_units: int) -> Iterator[Callable[[], None]]:
        """Measure what a chunk of units takes; call what is yielded before and after each forward pass in it."""
        if self._device.type == "cpu":
            yield lambda: None
            return
        peak, marks = Peak(self._device), list[int]()
        yield lambda: marks.append(peak.now)
        graphs = [after - before for before, after in zip(marks[::2], marks[1::2], strict=True)]
        self._fixed = max([self._fixed, *graphs])
        if n_units >= self._largest:
            self._largest, self._measured = n_units, max((peak.most - max(graphs, default=0)) // n_units, 1)

    def halve(self, size: int) -> None:
        """Go on with chunks of half the size.

        Raises:
            MemoryError: one unit does not fit.
        """
        if size == 1:
            raise MemoryError("out of memory for the gradients of one unit")
        self._most = size // 2
        self._say(f"out of memory for the gradients of {size} units at a time, going on with {self._most}")
