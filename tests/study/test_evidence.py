"""What arms are judged by: the prior SD of each, what the paper has, and the words of a verdict."""

import math

import numpy as np
import pytest

from study.arms import ARMS, INITIAL
from study.comparison import AGAINST
from study.evidence import Evidence, Terms, accuracy_terms, between, prior_sd
from study.published import EFFECTS
from study.rules import PRIMARY, STABLE_SD, UNSTABLE_SD


@pytest.mark.parametrize(
    "arm",
    ["standard", "off-policy", "grpo", "grpo+standard-matched", "vgs-lp-lambda-1", "vgs-lp-gamma-0-lambda-1", INITIAL],
)
def test_unsteered_and_preserved_arms_are_stable(arm):
    assert prior_sd(arm) == STABLE_SD


@pytest.mark.parametrize(
    "arm", ["vgs", "vgs-lp", "vgs-lp-lambda-0.1", "adaptive", "grpo+vgs-lp", "language-steering", "not in study.arms"]
)
def test_arms_that_are_steered_without_preservation_are_not(arm):
    assert prior_sd(arm) == UNSTABLE_SD


def test_contrasts_name_arms_that_can_be_trained():
    names = {*ARMS, INITIAL, "vgs-frozen"}
    named = {arm for pair in (*PRIMARY, *EFFECTS) for arm in pair} | {*AGAINST} | {*sum(AGAINST.values(), ())}
    assert named <= names


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ((10.0, 11.0, 12.0), "better"),
        ((-10.0, -11.0, -12.0), "worse"),
        ((0.1, 0.0, -0.1), "equivalent"),
        ((-4.0, 5.0, 1.0), "undecided"),
        ((10.0,), "not judged"),
    ],
)
def test_a_verdict_in_words(ours, verdict):
    found = between(np.array(ours), np.array([0.1, 0.0, -0.1]), Terms(2.0))
    assert found.verdict("better", "worse") == verdict


def test_the_range_is_that_of_our_seeds_from_the_other_mean():
    found = between(np.array([1.0, 4.0]), np.array([2.0, 4.0]), Terms(2.0))
    assert (found.least, found.greatest) == (-2.0, 1.0)


def test_power_is_that_of_the_paper_s_effect():
    ours, theirs = np.arange(8.0), np.arange(8.0)
    asked = [between(ours, theirs, accuracy_terms("vgs", "standard", effect)).power for effect in (1.0, 3.0, math.nan)]
    assert 0.05 < asked[0] < asked[1] < 1 and math.isnan(asked[2])


def test_a_primary_contrast_is_planned_at_the_strictest_level():
    ours, theirs = np.arange(8.0), np.arange(8.0)
    one, three = (between(ours, theirs, Terms(2.0, n_tests=n)) for n in (1, 3))
    assert three.detectable > one.detectable and three.seeds_needed > one.seeds_needed
    assert isinstance(one, Evidence) and three.primary and not one.primary
