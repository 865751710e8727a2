"""The upper bins, for any number of bins."""

import pytest

from stats.bins import bins_label, upper_bins


def test_of_ten_bins_they_are_those_of_the_paper():
    assert list(upper_bins(10)) == [7, 8, 9]


@pytest.mark.parametrize("n_bins", range(1, 41))
def test_they_are_the_last_three_tenths_and_at_least_one(n_bins):
    upper = upper_bins(n_bins)
    assert len(upper) >= 1 and upper.stop == n_bins
    assert abs(len(upper) - 0.3 * n_bins) <= 0.5 or n_bins == 1


def test_without_a_bin_there_are_none():
    with pytest.raises(ValueError, match="`n_bins` must be at least 1, got 0"):
        upper_bins(0)


def test_labels():
    assert (bins_label(range(7, 10)), bins_label((0, 1, 2)), bins_label([9])) == ("bins 7-9", "bins 0-2", "bin 9")
