"""How growth is judged, the clock that goes back, and the trials of `tests.faults.load` in a short form."""

import time
from itertools import pairwise

import pytest

from tests.faults import clock, load
from tests.faults.watching import Watched


def looks(resident: list[int], files: list[int]) -> Watched:
    return Watched(0, "", resident, files)


def test_memory_that_grows_after_warm_up_is_seen_and_warm_up_is_not() -> None:
    flat, leaking = [10, 500, *[1000] * 98], [1000 + 2 * k for k in range(100)]
    assert looks(flat, [7] * 100).growth() == 0.0
    assert looks(leaking, [7] * 100).growth() > 0.05
    assert looks(flat, [5 + k // 10 for k in range(100)]).more_files() > 0


def test_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("time", "time_ns"):
        monkeypatch.setattr(time, name, getattr(time, name))  # to be put back
    clock.turn_back()
    assert all(later < earlier for earlier, later in pairwise([time.time() for _ in range(5)]))
    assert time.time_ns() > time.time_ns()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_trials_in_a_short_form(capsys: pytest.CaptureFixture) -> None:
    """Memory and open files are no matter of seconds: in the short form any growth passes."""
    assert load.main(["--prompts", "24", "--steps", "6", "--growth", "9", "--more-files", "99"]) == 0
    shown = capsys.readouterr().out
    assert shown.count(" held ") == 4 and "resumed: same weights" in shown
