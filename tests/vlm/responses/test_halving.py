"""Batches that do not fit are cut smaller, nothing is lost or done twice."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlm.responses.halving import Batches, TooLargeError


def limited(most: int):
    """Work that memory allows for `most` items at a time."""

    def work(part: slice) -> list[int]:
        if part.stop - part.start > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return list(range(part.start, part.stop))

    return work


@given(n=st.integers(0, 40), size=st.integers(1, 20), most=st.integers(1, 20))
def test_every_item_is_worked_on_once_in_order_whatever_fits(n, size, most):
    batches = Batches(size, "batch")
    assert [item for _, items in batches.over(n, limited(most)) for item in items] == list(range(n))


def test_the_smaller_batch_is_kept_and_said(capsys):
    batches = Batches(8, "batch")
    list(batches.over(8, limited(3)))
    assert batches.size == 2
    assert [part.stop - part.start for part, _ in batches.over(8, limited(3))] == [2, 2, 2, 2]
    assert capsys.readouterr().err.splitlines() == [
        "note: out of memory at a batch of 8, going on with 4",
        "note: out of memory at a batch of 4, going on with 2",
    ]


def test_where_one_does_not_fit_the_flag_is_named():
    with pytest.raises(TooLargeError, match="`micro_batch` of 1 must fit"):
        list(Batches(4, "micro_batch").over(4, limited(0)))


def test_other_errors_are_no_lack_of_memory():
    def work(part: slice) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        list(Batches(4, "batch").over(4, work))
