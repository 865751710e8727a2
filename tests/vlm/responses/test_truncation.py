"""Truncated responses: counted, warned of above a fifth, refused above four fifths unless allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.responses import truncation
from vlm.responses.rollouts import Rollout
from vlm.responses.truncation import TruncatedError, Truncation


@pytest.fixture(autouse=True)
def _limit(monkeypatch):
    monkeypatch.setattr(truncation, "REFUSED", 0.8)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_the_share_is_that_of_the_responses_that_are_cut(cut):
    counted = truncation.truncation((Rollout("p", n, (1,), "", is_cut) for n, is_cut in enumerate(cut)), at=8)
    assert counted == Truncation(sum(cut), len(cut), 8) and counted.share == sum(cut) / len(cut)


@pytest.mark.parametrize(("n_cut", "begins"), [(1, "note: 1 of 10"), (2, "note: 2 of 10"), (3, "warning: 3 of 10")])
def test_what_is_said(capsys, n_cut, begins):
    Truncation(n_cut, 10, 64).settle(allowed=False)
    said = capsys.readouterr().err
    assert said.startswith(f"{begins} responses ({10 * n_cut} %) are truncated at `max_response` 64")
    assert ("raise `max_response`" in said) is (n_cut > 2)


def test_nothing_is_said_where_none_is_cut(capsys):
    Truncation(0, 10, 64).settle(allowed=False)
    assert capsys.readouterr().err == ""


def test_four_fifths_may_be_cut_and_no_more(capsys):
    Truncation(8, 10, 64).settle(allowed=False)
    with pytest.raises(TruncatedError, match=r"9 of 10 .* above 80 %: raise `max_response`, or add --allow-truncated"):
        Truncation(9, 10, 64).settle(allowed=False)
    capsys.readouterr()
    Truncation(9, 10, 64).settle(allowed=True)
    assert capsys.readouterr().err.startswith("warning: 9 of 10 responses (90 %)")


def test_responses_from_elsewhere_have_no_length_to_be_raised(capsys):
    with pytest.raises(TruncatedError, match="of `rollouts` have no end token, above 80 %: give responses with"):
        Truncation(10, 10).settle(allowed=False)
    Truncation(0, 0).settle(allowed=False)
    assert capsys.readouterr().err == ""
