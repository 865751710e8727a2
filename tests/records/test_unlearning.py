"""When language counts as unlearnt, and since when."""

from dataclasses import replace

import pytest

from records.journal_lines import LanguageRise
from records.unlearning import MARGIN, is_unlearnt, unlearnt_since
from tests.records.test_journal import evaluation


def lines(*lows, first=1.0):
    """Evaluations ten steps apart, whose rises have these lower ends."""
    rises = [None if low is None else LanguageRise(first, low + 0.1, low, low + 0.2) for low in lows]
    return [replace(evaluation(10 * place), language_rise=rise) for place, rise in enumerate(rises)]


@pytest.mark.parametrize(
    ("low", "first", "expected"),
    [(0.11, 1.0, True), (0.1, 1.0, False), (0.09, 1.0, False), (0.03, 0.2, True), (-0.5, 1.0, False)],
)
def test_the_lower_end_must_lie_above_a_tenth_of_the_first_loss(low, first, expected):
    assert MARGIN == 0.1 and is_unlearnt(LanguageRise(first, 0.6, low, 0.9)) is expected


@pytest.mark.parametrize("rise", [None, LanguageRise(None, None, None, None), LanguageRise(0.3, 0.4, None, None)])
def test_what_is_not_measured_is_not_unlearnt(rise):
    assert not is_unlearnt(rise)


@pytest.mark.parametrize(
    ("lows", "since"),
    [
        ((0.0, 0.2), 10),
        ((0.0, 0.02, 0.05, 0.2), 10),
        ((0.0, 0.3, -0.1, 0.04, 0.2), 30),
        ((0.0, 0.3, 0.04), None),
        ((0.0, 0.3, -0.1), None),
        ((0.0, 0.3, None, 0.2), 30),
        ((), None),
        ((0.0,), None),
    ],
)
def test_it_is_unlearnt_since_the_first_step_of_the_last_stretch_above_the_start(lows, since):
    assert unlearnt_since(lines(*lows)) == since
