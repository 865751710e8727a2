"""What is said while a checkpoint is fetched, read or fingerprinted; nothing of small ones."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.utils import tqdm

from cli.progress import LINE_EVERY_S, progress
from cli.visible import print_err

LARGE_BYTES = 1 << 30
"""Files of fewer bytes are there before a line is read."""


@contextmanager
def reading(name: str, folder: Path, files: Sequence[str]) -> Iterator[None]:
    """Say that weights are read, how large they are, and when they are there."""
    size, began = _size(folder, files), time.monotonic()
    is_large = size >= LARGE_BYTES
    if is_large:
        print_err(f"reading the weights of {name}: {size / 1e9:.1f} GB")
    yield
    if is_large:
        print_err(f"read {name} in {time.monotonic() - began:.0f} s")


@contextmanager
def fingerprinting(folder: Path, files: Sequence[str]) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes the number of bytes read so far."""
    size = _size(folder, files)
    if size < LARGE_BYTES:
        yield lambda n_bytes: None
        return
    with progress(f"fingerprint of {folder.name}, MB", size >> 20) as show:
        yield lambda n_bytes: show(n_bytes >> 20)


def _size(folder: Path, files: Sequence[str]) -> int:
    return sum((folder / file).stat().st_size for file in files)


class DownloadBar(tqdm):
    """The bar of a download; where stderr is no terminal, a plain line now and then of one that takes long."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        if not sys.stderr.isatty():
            settings |= {
                "file": _Lines(),
                "mininterval": LINE_EVERY_S,
                "delay": LINE_EVERY_S,
                "ascii": True,
                "ncols": 80,
            }
        super().__init__(*args, **settings)


class _Lines:
    """A file that makes each state of a bar a line of stderr."""

    def write(self, text: str) -> None:
        if line := text.strip():
            print_err(line)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        """Whether bars are drawn at all."""
        return True
