"""Freed memory goes back to the system, where the C library can give it."""

import ctypes
import sys

import pytest

from tests.launch import together
from train.freed_memory import give_back

HOLES = """
import psutil, torch
from train.freed_memory import give_back
kept, freed = [], []
for _ in range(2000):
    freed.append(torch.ones(10_000))
    kept.append(torch.ones(10))
resident = psutil.Process().memory_info().rss
del freed
before = psutil.Process().memory_info().rss
gave = give_back()
print(resident, before, psutil.Process().memory_info().rss, gave)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no malloc_trim")
def test_the_holes_between_what_is_kept_are_given_back():
    held, before, after, gave = together(1, "-c", HOLES)[0].out.split()
    assert gave == "True" and int(held) - int(after) > 60e6
    assert int(after) < int(before)


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert give_back() is False
