"""Decode the pictures of many prompts, several at once, to know which of them can be read."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from PIL import Image

from vlm.pictures.picture import Picture, PictureError, quiet

_MOST_THREADS = 16


@contextmanager
def readable(prompts: Sequence[Sequence[Picture]]) -> Iterator[Iterator[bool]]:
    """Give an iterator that says, prompt by prompt, whether all of its pictures can be decoded.

    Decoders run outside of Python's lock, in threads; images in memory are no thread's own, and are read as they are
    asked for. What is not asked for when the context ends is not decoded.
    """
    with quiet():  # threads then find these filters, in whichever order they leave their own
        pool = ThreadPoolExecutor(_n_threads())
        try:
            begun = [None if _are_in_memory(one) else pool.submit(_are_readable, one) for one in prompts]
            yield (
                _are_readable(one) if task is None else task.result() for one, task in zip(prompts, begun, strict=True)
            )
        finally:
            pool.shutdown(cancel_futures=True)


def _n_threads() -> int:
    """A share of the cores for each of the processes that a launcher has started on this machine."""
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    here = int(processes) if processes.isdecimal() else 1
    return max(min((os.cpu_count() or 1) // max(here, 1), _MOST_THREADS), 1)


def _are_in_memory(pictures: Sequence[Picture]) -> bool:
    return any(isinstance(picture.source, Image.Image) for picture in pictures)


def _are_readable(pictures: Sequence[Picture]) -> bool:
    try:
        for picture in pictures:
            picture.check_pixels()
    except PictureError:
        return False
    return True
