"""Memory: how much of it a device has free, and which errors say that there was too little."""

import math
import os
from pathlib import Path

import torch

_MACHINE, _CONTAINER = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
_SAYS_SO = ("out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")


def free_bytes(device: torch.device | str) -> int:
    """Return the bytes that new tensors can take on a device, those in PyTorch's own cache included."""
    device = torch.device(device)
    if device.type == "cpu":
        return _free_of_the_machine()
    free, _ = torch.accelerator.get_memory_info(device)
    return free + torch.accelerator.memory_reserved(device) - torch.accelerator.memory_allocated(device)


class Peak:
    """The most memory that tensors on an accelerator took at a time since this was made, bytes.

    start: what they took then. The device's own count of its peak begins again.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        torch.accelerator.reset_peak_memory_stats(device)
        self.start = torch.accelerator.memory_allocated(device)

    @property
    def now(self) -> int:
        """Bytes taken above the start."""
        return torch.accelerator.memory_allocated(self._device) - self.start

    @property
    def most(self) -> int:
        """Bytes taken above the start, at the peak."""
        return torch.accelerator.max_memory_allocated(self._device) - self.start


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAYS_SO)


def _free_of_the_machine() -> int:
    """Memory that this process can still take without swapping: the least of the machine's and its container's."""
    try:
        sizes = dict(line.split(":", 1) for line in _MACHINE.read_text().splitlines())
        available = int(sizes["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError):  # elsewhere than on Linux
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return int(min(available, _free_of_the_container()))


def _free_of_the_container() -> float:
    try:
        limit, used = ((_CONTAINER / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return math.inf
    return math.inf if limit == "max" else float(max(int(limit) - int(used), 0))
