"""Ways taking turns at the same work, timed."""

import gc
import time
from collections.abc import Mapping, Sequence

import pandas as pd
from torch import Tensor

from tests.benchmarks.objects import Object, spread
from tests.benchmarks.reference import error, exact, untied
from tests.benchmarks.ways import CHUNKS, WAYS, Grams, Job, Way


class Contest:
    """The ways on one object at one number of threads.

    work: the jobs of each way, by key. chunks: tokens a backward pass, where a way has them. seconds: of each round.
    """

    def __init__(self, work: Mapping[str, list[Job]]) -> None:
        self.work = work
        self.chunks = {key: best_chunk(WAYS[key], jobs[0]) for key, jobs in work.items() if WAYS[key].chunked}
        self._grams = {key: WAYS[key].build(jobs[0].model, self.chunks.get(key, 1)) for key, jobs in work.items()}
        self.seconds: dict[str, list[float]] = {key: [] for key in work}
        self.found: dict[str, list[Tensor]] = {}
        for key, jobs in work.items():
            self._grams[key](jobs[0].at(jobs[0].positions[-1:]))  # warm up

    def run(self, rounds: int) -> None:
        """Let each way do its work once a round."""
        for _ in range(rounds):
            for key, jobs in self.work.items():
                spent, self.found[key] = timed(self._grams[key], jobs)
                self.seconds[key].append(spent)

    def ms_a_token(self, key: str) -> pd.Series:
        """Of each round."""
        n_tokens = sum(len(job.positions) for job in self.work[key])
        return pd.Series(self.seconds[key]) * 1000 / n_tokens


def timed(grams: Grams, jobs: Sequence[Job]) -> tuple[float, list[Tensor]]:
    """Seconds and Gram matrices."""
    gc.collect()
    began = time.perf_counter()
    found = [grams(job) for job in jobs]
    return time.perf_counter() - began, found


def best_chunk(way: Way, job: Job) -> int:
    """Tokens a backward pass at which the way is fastest on a job: the better of two runs of each size."""
    sizes = [size for size in CHUNKS if size < 2 * len(job.positions)]
    spent = {}
    for size in sizes:
        grams = way.build(job.model, size)
        spent[size] = min(timed(grams, [job])[0] for _ in range(2))
        del grams  # TorchJD's engine stays on the model until it goes
    return min(spent, key=lambda size: spent[size])


def work_of(found: Object, ways: Sequence[str]) -> dict[str, list[Job]]:
    """The jobs of each way: on an untied copy, or at fewer tokens, where it needs that."""
    copies = untied(found.jobs) if any(WAYS[key].untied for key in ways) else []
    work = {key: copies if WAYS[key].untied else found.jobs for key in ways}
    if "a" in work:
        work["a"] = [job.at(job.positions[spread(len(job.positions), found.plain)]) for job in found.jobs]
    return work


def errors(work: Mapping[str, list[Job]], found: Mapping[str, list[Tensor]]) -> dict[str, float]:
    """The largest error of each way."""
    expected: dict[tuple[int, int], list[Tensor]] = {}
    largest = {}
    for key, jobs in work.items():
        same = id(jobs[0].model), sum(len(job.positions) for job in jobs)
        if same not in expected:
            expected[same] = exact(jobs)
        largest[key] = max(map(error, found[key], expected[same]))
    return largest
