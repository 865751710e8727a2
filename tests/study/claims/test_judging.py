"""Regions and verdicts, by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from study.claims.claim import POINTS, Above, Apart, Below, Claim, Estimate, Statement, Statistic, Within
from study.claims.judging import ClaimVerdict, JudgedClaim, JudgedStatement, judge, overall
from study.evidence import Terms, between

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


def of_runs(ours, theirs, **changes):
    """The estimate from the runs of two arms."""
    evidence = replace(between(np.array(ours), np.array(theirs), Terms(2.0)), **changes)
    low, high = evidence.difference.interval() if evidence.judged else (NAN, NAN)
    return Estimate(evidence.difference.value, low, high, "", evidence)


@pytest.mark.parametrize(
    ("region", "ours", "verdict"),
    [
        (Above(0), (3.0, 4.0, 5.0), YES),
        (Above(0), (-3.0, -4.0, -5.0), NO),
        (Above(0), (-3.0, 4.0, 5.0), UNCLEAR),
        (Above(0), (5.0, 5.5, 5.0, 5.5, -0.5, 5.0, 5.5, 5.0), YES),  # one seed of another sign
        (Below(0), (-3.0, -4.0, -5.0), YES),
        (Within(-2, 2), (0.5, 0.0, -0.5), YES),
        (Within(-2, 2), (0.5, 2.9, -2.9), UNCLEAR),
        (Within(-2, 2), (9.0, 9.5, 10.0), NO),
        (Apart(2), (9.0, 9.5, 10.0), YES),
    ],
)
def test_runs_are_judged_over_seeds(region, ours, verdict):
    assert judge(of_runs(ours, (0.5, 0.0, -0.5)), region) is verdict


def test_no_difference_holds_by_two_one_sided_tests():
    """The 90 % interval lies inside where the 95 % one does not."""
    estimate = of_runs((-1.8, 0.0, 1.8, -1.8, 1.8), (-1.0, 1.0, 0.0, 0.5, -0.5))
    margin = (estimate.narrow[1] + estimate.high) / 2
    assert judge(estimate, Within(-margin, margin)) is YES
    assert judge(estimate, Above(-margin)) is UNCLEAR


def test_a_primary_contrast_counts_by_its_adjusted_p_value():
    ours, theirs = (3.0, 4.0, 5.0), (0.5, 0.0, -0.5)
    assert judge(of_runs(ours, theirs), Above(0)) is YES
    assert judge(of_runs(ours, theirs, n_tests=3, p_holm=0.04), Above(0)) is YES
    assert judge(of_runs(ours, theirs, n_tests=3, p_holm=0.06), Above(0)) is UNCLEAR


@pytest.mark.parametrize("region", [Above(0), Below(0), Within(0, 9)])
@pytest.mark.parametrize(("ours", "theirs"), [((5.0,), (1.0, 2.0)), ((5.0, 6.0), (1.0,)), ((5.0,), (1.0,))])
def test_one_seed_decides_nothing(region, ours, theirs):
    assert judge(of_runs(ours, theirs), region) is ClaimVerdict.ONE_SEED


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


def statement(shown=""):
    return Statement("text", POINTS, Above(0), "study", Statistic(lambda read: Estimate(1, 1, 1)), shown)


def test_what_is_shown_decides_nothing():
    one = Claim("title", "paper", (statement(), statement("seen before the rule")))
    judged = JudgedStatement(one.statements[0], YES), JudgedStatement(one.statements[1], NO)
    assert JudgedClaim(one, judged, ()).verdict is YES


def test_a_claim_that_cannot_be_tested_has_no_other_verdict():
    one = JudgedClaim(Claim("title", "paper", (statement(),), untestable="too short"), (), ())
    assert one.verdict is ClaimVerdict.UNTESTABLE and not one.needs_explanation


def test_the_smallest_effect_is_found_with_a_chance_of_80_percent():
    """Of a normal estimate with the standard error 1 it is 2.80: 1.96 and 0.84."""
    assert Estimate(3, 3 - 1.959964, 3 + 1.959964).detectable == pytest.approx(2.8016, abs=1e-3)
    runs = of_runs((3.0, 4.0, 5.0), (0.5, 0.0, -0.5))
    assert runs.detectable == runs.evidence.detectable > (runs.high - runs.low) / 2


def test_rules_in_words():
    found = [region.words("degrees") for region in (Above(10), Below(0), Within(-2, 2), Apart(2))]
    assert found == ["above 10 degrees", "below 0 degrees", "between -2 and 2 degrees", "more than 2 degrees from 0"]
    assert Within(0.8, 1.25).words("") == "between 0.8 and 1.25"
