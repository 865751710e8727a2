"""Work that several processes share comes out as if one had done it."""

import threading
from types import SimpleNamespace

import pytest

from cli.errors import OptionError, UserError
from train import sharing


@pytest.fixture
def in_turn(monkeypatch):
    """Return a function that runs `shared` in n threads, each for a process; what each got, or the error."""

    def run(n, items, size, work):
        gathered, meeting = [None] * n, threading.Barrier(n, timeout=60)
        rank = threading.local()

        def gather(made):
            gathered[rank.number] = made
            meeting.wait()
            return [one for each in gathered for one in each]

        monkeypatch.setattr(sharing, "gather_object", gather)
        ended = [None] * n

        def process(number):
            rank.number = number
            accelerator = SimpleNamespace(process_index=number, num_processes=n)
            try:
                ended[number] = sharing.shared(accelerator, items, size, lambda part: work(number, part))
            except UserError as error:
                ended[number] = error

        threads = [threading.Thread(target=process, args=(number,)) for number in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        return ended

    return run


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_results_are_in_order_and_the_cut_is_the_same(in_turn, n):
    parts = {}

    def work(number, part):
        parts[tuple(part)] = number
        return [10 * item for item in part]

    for result in in_turn(n, list(range(11)), 3, work):
        assert result == [10 * item for item in range(11)]
    assert sorted(parts) == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10)]
    assert set(parts.values()) == set(range(min(n, 4)))


def test_an_error_of_one_is_raised_by_all(in_turn):
    def work(number, part):
        if number == 1:
            raise OptionError("`lr` is too large")
        return part

    ended = in_turn(2, list(range(6)), 2, work)
    assert [str(error) for error in ended] == ["`lr` is too large"] * 2
