"""What some work costs, counted and not timed: multiplications and additions, and the bytes of tensors alive."""

import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_backward_flop_count, sdpa_flop_count

ATTENTION = "scaled_dot_product"
PATCHES = "convolution"


def _attention(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_CPU_ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
_FORMULAS = {
    operation: formula
    for operation, formula in ((_CPU_ATTENTION, _attention), (_CPU_ATTENTION_BACKWARD, _attention_backward))
    if operation not in flop_registry
}
"""Of operations that torch's counter does not know."""


@dataclass(frozen=True)
class Cost:
    """flops: by operation. peak: bytes of tensors alive at a time, above those before."""

    flops: Mapping[str, int]
    peak: int

    @property
    def total(self) -> int:
        """FLOPs of all operations."""
        return sum(self.flops.values())

    def part(self, name: str) -> int:
        """FLOPs of the operations with this in their names."""
        return sum(count for operation, count in self.flops.items() if name in operation)


def cost_of(work: Callable[[], object]) -> Cost:
    """Do some work and return what it cost."""
    counter, alive = FlopCounterMode(display=False, custom_mapping=_FORMULAS), TensorsAlive()
    with _both(counter, alive):
        work()
    counts = counter.get_flop_counts().get("Global", {})
    return Cost({str(operation): int(count) for operation, count in counts.items()}, alive.most)


class _both(AbstractContextManager):
    def __init__(self, *modes: AbstractContextManager) -> None:
        self._modes = modes

    def __enter__(self) -> None:
        for mode in self._modes:
            mode.__enter__()

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


class TensorsAlive(TorchDispatchMode):
    """Counts the bytes of the storages that operations return, until they are let go.

    What an operation takes for itself and lets go before it returns is not seen.

    now, most: bytes alive, and the most so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._alive = Counter[int]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.untyped_storage()._cdata not in before:
                self._note(leaf.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        place = storage._cdata
        if place in self._alive:
            return
        self._alive[place] = storage.nbytes()
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, place)

    def _gone(self, place: int) -> None:
        self.now -= self._alive.pop(place)
