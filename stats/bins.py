"""Bins of visual dependency: which are the upper ones, and how a range of bins is written.

Tokens are sorted into bins of equal frequency by VDS, bin 0 the least visual. The paper speaks of bins 7-9 of ten as
the visual tokens (arXiv:2606.00564, Fig. 4b). This is the one definition of them, for any number of bins.
"""

import math
from collections.abc import Sequence

N_BINS = 10
"""The number of bins in the paper, and wherever no other number is chosen."""
UPPER_FROM = 0.7
"""The share of the bins that lies below the upper ones."""


def upper_bins(n_bins: int) -> range:
    """Return the numbers of the upper three tenths of the bins, at least one.

    >>> upper_bins(10), upper_bins(3), upper_bins(1)
    (range(7, 10), range(2, 3), range(0, 1))

    Raises:
        ValueError: there is no bin.
    """
    if not 1 <= n_bins < math.inf:
        raise ValueError(f"`n_bins` must be at least 1, got {n_bins}: give the number of bins that tokens are in")
    return range(min(round(UPPER_FROM * n_bins), n_bins - 1), n_bins)


def bins_label(bins: Sequence[int]) -> str:
    """Return neighbouring bins in words, as tables and captions name them.

    >>> bins_label(upper_bins(10)), bins_label([9])
    ('bins 7-9', 'bin 9')

    Raises:
        ValueError: there is no bin, or the bins are no neighbours in order.
    """
    if not len(bins) or list(bins) != list(range(bins[0], bins[0] + len(bins))):
        raise ValueError(f"`bins` must be neighbours in order, got {list(bins)}: name one range at a time")
    return f"bins {bins[0]}-{bins[-1]}" if len(bins) > 1 else f"bin {bins[0]}"
