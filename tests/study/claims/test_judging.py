"""Regions and verdicts, by hand."""

import math

import pytest

from study.claims.claim import Above, Apart, Below, Estimate, Within
from study.claims.judging import ClaimVerdict, judge, overall

YES, NO, UNCLEAR = ClaimVerdict.REPRODUCED, ClaimVerdict.NOT_REPRODUCED, ClaimVerdict.UNCLEAR
NAN = math.nan


@pytest.mark.parametrize(
    ("region", "low", "high", "verdict"),
    [
        (Above(10), 10.1, 20, YES),
        (Above(10), 9.9, 20, UNCLEAR),
        (Above(10), -5, 10, NO),
        (Below(0), -2, -0.1, YES),
        (Below(0), -2, 0, UNCLEAR),
        (Below(0), 0, 1, NO),
        (Within(-2, 2), -2, 2, YES),
        (Within(-2, 2), -2.1, 1, UNCLEAR),
        (Within(-2, 2), -5, 5, UNCLEAR),
        (Within(-2, 2), 2.1, 5, NO),
        (Within(-2, 2), -5, -2.1, NO),
        (Apart(2), 2.1, 5, YES),
        (Apart(2), -5, -2.1, YES),
        (Apart(2), -5, 5, UNCLEAR),
        (Apart(2), -2, 2, NO),
        (Above(10), NAN, NAN, UNCLEAR),
        (Within(-2, 2), NAN, NAN, UNCLEAR),
        (Apart(2), NAN, NAN, UNCLEAR),
    ],
)
def test_an_interval_and_a_region(region, low, high, verdict):
    assert judge(Estimate((low + high) / 2, low, high), region) is verdict


@pytest.mark.parametrize(
    ("region", "interval", "extremes", "verdict"),
    [
        (Above(0), (1, 3), (0.5, 4), YES),
        (Above(0), (1, 3), (-0.1, 4), UNCLEAR),
        (Above(0), (-3, -1), (-4, -0.5), NO),
        (Above(0), (-3, -1), (-4, 0.1), UNCLEAR),
        (Below(0), (-3, -1), (-4, -0.5), YES),
        (Within(-2, 2), (-1, 1), (-2, 1.5), YES),
        (Within(-2, 2), (-1, 1), (-6, 6), UNCLEAR),
        (Within(-2, 2), (3, 5), (2.5, 6), NO),
        (Within(-2, 2), (3, 5), (1.5, 6), UNCLEAR),
        (Apart(2), (3, 5), (2.5, 6), YES),
        (Apart(2), (3, 5), (1.5, 6), UNCLEAR),
        (Apart(2), (-1, 1), (-1.5, 1.5), NO),
    ],
)
def test_the_seeds_must_agree(region, interval, extremes, verdict):
    assert judge(Estimate(0, *interval, "", 3, *extremes), region) is verdict


@pytest.mark.parametrize("region", [Above(0), Below(0), Within(0, 9)])
def test_one_seed_decides_nothing(region):
    assert judge(Estimate(5, 4, 6, "", 1, 5, 5), region) is ClaimVerdict.ONE_SEED


@pytest.mark.parametrize(
    ("statements", "verdict"),
    [
        ([YES, YES], YES),
        ([YES, UNCLEAR], UNCLEAR),
        ([YES, UNCLEAR, ClaimVerdict.ONE_SEED], UNCLEAR),
        ([YES, ClaimVerdict.ONE_SEED], ClaimVerdict.ONE_SEED),
        ([YES, ClaimVerdict.NOT_MEASURED], ClaimVerdict.NOT_MEASURED),
        ([NO, ClaimVerdict.NOT_MEASURED, UNCLEAR], NO),
    ],
)
def test_a_claim_needs_all_its_statements(statements, verdict):
    assert overall(statements) is verdict


def test_half_an_interval_is_the_smallest_effect_distinguishable_from_zero():
    assert Estimate(3, 1, 6).detectable == 2.5
    assert Estimate(3, 1, 6, "40 scenes", 3, 2, 4, 1.0).detectable == 2.5


def test_seeds_that_differ_by_more_bound_what_is_detectable():
    assert Estimate(3, 1, 6, "40 scenes", 3, -2, 8, 12.4).detectable == 12.4


def test_rules_in_words():
    found = [region.words("degrees") for region in (Above(10), Below(0), Within(-2, 2), Apart(2))]
    assert found == ["above 10 degrees", "below 0 degrees", "between -2 and 2 degrees", "more than 2 degrees from 0"]
    assert Within(0.8, 1.25).words("") == "between 0.8 and 1.25"
