"""Small models run on one thread and large ones on all, unless the user has chosen."""

import pytest
import torch
from torch import nn

from vlm.checkpoints import threads


@pytest.fixture
def machine(monkeypatch):
    """A machine of four cores whose threads nobody has chosen; the number that was set last."""
    count = [4]
    for name in threads._ASKED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: count[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda n: count.__setitem__(0, n))
    monkeypatch.setattr(threads, "_threads", threads._Threads(4, 4))
    return count


SMALL, LARGE = nn.Linear(2, 2), nn.Linear(threads.SMALL, 1, device="meta")


def test_a_small_model_runs_on_one_thread_until_a_large_one_is_loaded(machine):
    for model, n in ((SMALL, 1), (LARGE, 4), (SMALL, 4)):
        threads.choose_threads(model)
        assert machine == [n]


@pytest.mark.parametrize("name", threads._ASKED)
def test_the_environment_has_the_last_word(machine, monkeypatch, name):
    monkeypatch.setenv(name, "4")
    threads.choose_threads(SMALL)
    assert machine == [4]


def test_a_number_that_was_set_in_between_stays(machine):
    threads.choose_threads(SMALL)
    torch.set_num_threads(3)
    threads.choose_threads(LARGE)
    assert machine == [3]


def test_a_number_that_was_set_before_stays(machine, monkeypatch):
    monkeypatch.setattr(threads, "_threads", threads._Threads(3, 3))
    machine[0] = 3
    threads.choose_threads(SMALL)
    assert machine == [3]
