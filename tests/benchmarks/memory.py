"""The memory that a way needs on top of the loaded model, in a process of its own."""

import ctypes
import gc
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import torch

from tests.benchmarks.objects import OBJECTS
from tests.benchmarks.reference import untied
from tests.benchmarks.ways import WAYS
from vlm.checkpoints.checkpoint import quiet

_PROCESS = Path("/proc/self")


def peak_bytes(way: str, name: str, per_response: int, chunk: int) -> int:
    """Of the way on the longest response of an object, one thread."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, way, name, per_response, chunk).result()


def _measured(key: str, name: str, per_response: int, chunk: int) -> int:
    quiet()
    torch.set_num_threads(1)
    way, jobs = WAYS[key], OBJECTS[name](per_response).jobs
    job = max(untied(jobs) if way.untied else jobs, key=lambda job: job.length)
    if key == "a":
        job = job.at(job.positions[-1:])  # one after the other: more need no more
    grams = way.build(job.model, chunk)
    del jobs
    before = _start()
    grams(job)
    return _peak() - before


def _start() -> int:
    """Give back what is free, forget earlier peaks where the system can, and return the peak from here on."""
    gc.collect()
    with suppress(OSError, AttributeError):  # elsewhere than on Linux
        ctypes.CDLL(None).malloc_trim(0)
        (_PROCESS / "clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """Peak resident size, bytes; on Linux not `getrusage`'s, where a child starts with the peak of its parent."""
    if (_PROCESS / "status").is_file():
        (line,) = (line for line in (_PROCESS / "status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
