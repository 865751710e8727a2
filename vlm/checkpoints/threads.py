"""How many threads of the CPU a model runs on: a small one on one, which costs little and disturbs no other process.

Results differ in the last bits between numbers of threads, as sums are cut otherwise.
"""

import os
from dataclasses import dataclass

import torch
from torch import nn

SMALL = 10_000_000
"""Parameters up to which a model runs on one thread."""
_ASKED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass
class _Threads:
    """all: torch's own number on this machine; left: the number that was set here last."""

    all: int
    left: int
    is_large: bool = False

    def is_chosen(self) -> bool:
        """Whether the user has chosen the number: in the environment, before this module loaded, or since."""
        n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        stated = any(name in os.environ for name in _ASKED)
        return stated or self.all not in (n_cores, n_cores // 2) or torch.get_num_threads() != self.left


_threads = _Threads(torch.get_num_threads(), torch.get_num_threads())


def choose_threads(model: nn.Module) -> None:
    """Go on with one thread for a small model, with all for a large one, and with all once a large one was loaded.

    A number that the user has chosen stays: by `OMP_NUM_THREADS`, or by `torch.set_num_threads` after this module has
    loaded.
    """
    if _threads.is_chosen():
        return
    _threads.is_large = _threads.is_large or sum(parameter.numel() for parameter in model.parameters()) > SMALL
    _threads.left = _threads.all if _threads.is_large else 1
    torch.set_num_threads(_threads.left)
