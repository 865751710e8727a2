"""Phases on a device: seconds and peak memory of each, and how fast the device multiplies matrices."""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tests.benchmarks.own_process import peak_bytes

_ROUNDS = 5


@dataclass(frozen=True)
class Phase:
    """One part of the work. tokens: how many it went through; 0 where that is not counted."""

    name: str
    seconds: float
    peak_bytes: int
    tokens: int = 0


@dataclass
class DeviceWatch:
    """Times phases; a phase ends when the device has done all that it was asked."""

    device: torch.device
    phases: list[Phase] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str, tokens: int = 0) -> Iterator[None]:
        """Add what happens in this context to `phases`."""
        self._reset()
        began = self._now()
        yield
        self.phases.append(Phase(name, self._now() - began, self._peak(), tokens))

    def named(self, name: str) -> Phase:
        """Return a phase that has been timed."""
        return next(phase for phase in self.phases if phase.name == name)

    def _now(self) -> float:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        return time.perf_counter()

    def _reset(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.reset_peak_memory_stats(self.device)
            return
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def _peak(self) -> int:
        """Bytes of tensors on an accelerator, of the whole process on the CPU."""
        return peak_bytes() if self.device.type == "cpu" else torch.accelerator.max_memory_allocated(self.device)


def device_name(device: torch.device) -> str:
    """Return what the maker calls the device; of a CPU the cores and threads, too."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    return f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s)"


def matmul_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOPs a second of a large product of matrices, the best of five."""
    size = 1024 if device.type == "cpu" else 8192
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    watch = DeviceWatch(device)
    for _ in range(_ROUNDS + 1):  # the first warms up
        with watch.phase("matmul"):
            one @ other
    return float(2 * size**3 / min(phase.seconds for phase in watch.phases[1:]))
