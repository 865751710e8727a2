"""The recommendation: what the evidence and a trial of the draft come to, each choice with its reason."""

from dataclasses import replace
from math import inf

import pytest

from geometry import Objective
from probes.diagnosis.judging import Needs
from probes.diagnosis.recommendation import candidates, compared, needs, recommend, recommendation_table
from probes.diagnosis.strength_rules import draft
from probes.diagnosis.trial import Trial
from probes.diagnosis.verdict_rules import DO_NOT_STEER, STEER, UNDECIDED
from records import TABLES
from stats import Interval
from tests.probes.diagnosis.cases import (
    BELOW,
    CASES,
    NEAR,
    ORDER,
    SEES,
    SURE,
    UNSURE,
    WITHOUT_STEERING,
    failing,
    forecast,
    passing,
    setting,
    tried,
    undecided,
)


def chosen(evidence):
    return {row["setting"]: row["choice"] for row in recommend(evidence).rows}


def settings(candidates):
    return [(one.gamma, one.lambda_, one.prior) for one in candidates]


@pytest.mark.parametrize("name", CASES)
def test_every_verdict_comes_with_all_settings_and_their_reasons(name):
    verdict, evidence = CASES[name]
    for advice, expected in ((draft(evidence), verdict), (recommend(evidence), UNDECIDED)):
        rows = advice.rows
        assert [row["setting"] for row in rows] == ["verdict", "objective", "gamma", "lambda", "prior"]
        assert rows[0]["choice"] == (expected if verdict == STEER else verdict)
        assert all(row["reason"] and "{" not in row["reason"] for row in rows)
        assert (rows[2]["choice"] == "-") == (rows[0]["choice"] != STEER)


@pytest.mark.parametrize("name", CASES)
def test_a_recommendation_can_be_trained_on(name):
    evidence = CASES[name][1]
    found = chosen(replace(evidence, trial=Trial(4, 3e-4, [passing(*ORDER[0])])))
    if found["objective"] == "vgs-lp":
        Objective("vgs-lp", gamma=float(found["gamma"]), lambda_=float(found["lambda"]), prior=found["prior"])
    else:
        assert found["objective"] in ("standard", "none")


def test_numbers_are_written_as_they_are():
    assert chosen(tried(passing(*ORDER[0]))) == {
        "verdict": STEER,
        "objective": "vgs-lp",
        "gamma": "2",
        "lambda": "0.01",
        "prior": "detached",
    }
    assert draft(forecast(1.0, 1.0, 0.0123)).rows[3]["choice"] == "0.013"


def test_candidates_are_the_draft_then_frozen_more_lambda_less_gamma_and_preservation_alone():
    assert settings(candidates(SEES)) == ORDER
    asked = candidates(forecast(1.0, 1.0, 0.2))  # lambda 0.2 by the forecast
    steering = [(0.2, "detached"), (0.2, "frozen"), (1.0, "detached")]
    alone = [(0.0, 0.1, "detached"), (0.0, 1.0, "detached")]
    assert settings(asked) == [(gamma, *rest) for gamma in (2.0, 1.0) for rest in steering] + alone
    priors = [one.prior for one in candidates(forecast(1.0, inf, 0.2)) if one.gamma]
    assert priors == ["attached", "frozen", "attached", "attached"] * 2
    mild = replace(SEES, content_nats=0.2, visual_nats=0.1, language_nats=0.3)
    assert {one.gamma for one in candidates(mild)} == {0.5, 0.0}  # nothing milder to fall back to
    assert settings(candidates(forecast(0.1, 0.1))) == alone  # no gamma is left


def test_on_request_the_settings_of_a_study_follow():
    every = settings(compared(candidates(SEES)))
    assert every == [*ORDER, (2.0, 0.0, "detached"), (2.0, 0.0, "frozen")]
    assert len(compared([])) == 5


@pytest.mark.parametrize("name", WITHOUT_STEERING)
def test_where_nothing_steers_nothing_is_tried(name):
    evidence = CASES[name][1]
    assert candidates(evidence) == []
    of_standard = replace(evidence, trial=Trial(4, 3e-4, []))
    assert recommend(of_standard) == recommend(evidence)


@pytest.mark.parametrize("n", range(1, 9))
def test_the_first_that_passes_is_recommended(n):
    gamma, lambda_, prior = ORDER[n - 1]
    evidence = tried(*(failing(*order) for order in ORDER[: n - 1]), passing(*ORDER[n - 1]))
    advice = recommend(evidence)
    assert (advice.verdict, advice.objective) == (STEER, "vgs-lp")
    assert (advice.gamma, advice.lambda_, advice.prior) == (gamma, lambda_, prior)
    reasons = advice.reasons
    assert "4 steps at rate 0.0003 pass the trial" in reasons["objective"]
    assert "-0.3 (-0.4 to -0.2) nats of visual loss" in reasons["objective"]
    assert ("the first that passes the trial at gamma" in reasons["lambda"]) == (n > 1)
    assert ("no lambda up to 1 passes the trial; the rule: 2.5 x 0.80" in reasons["gamma"]) == (gamma == 1.0)


def test_preservation_alone_is_no_steering_and_is_recommended():
    advice = recommend(tried(*(failing(*order) for order in ORDER[:-1]), passing(*ORDER[-1])))
    assert (advice.verdict, advice.objective) == (DO_NOT_STEER, "vgs-lp")
    assert (advice.gamma, advice.lambda_, advice.prior) == (0.0, 1.0, "detached")
    assert "language preservation alone does" in advice.reasons["verdict"]
    Objective("vgs-lp", gamma=0.0, lambda_=1.0, prior="detached")


def test_where_all_fail_it_is_not_to_steer():
    evidence = tried(*(failing(*order) for order in ORDER))
    found, reasons = chosen(evidence), recommend(evidence).reasons
    assert (found["verdict"], found["objective"]) == (DO_NOT_STEER, "standard")
    assert {found[name] for name in ("gamma", "lambda", "prior")} == {"-"}
    assert "the teacher looks" in reasons["verdict"] and "no setting passes the trial: " in reasons["verdict"]
    assert "gamma 0 and lambda 1" in reasons["verdict"] and "+0.3 (0.2 to 0.4) nats of language" in reasons["verdict"]


def test_where_none_passes_and_one_is_open_it_is_undecided():
    evidence = tried(*(failing(*order) for order in ORDER[:-1]), undecided(*ORDER[-1]))
    advice = recommend(evidence)
    assert (advice.verdict, advice.objective, advice.gamma) == (UNDECIDED, "standard", None)
    assert "gamma 0 and lambda 1" in advice.reasons["verdict"]
    assert needs(evidence) == Needs(pytest.approx(16.0 * SURE, rel=1e-3), inf)
    assert advice.needing("needs about 9 prompts").reasons["verdict"].startswith("needs about 9 prompts: after 4 ")


def test_the_setting_that_heads_to_pass_says_what_is_needed():
    """It decides as soon as it passes; if all head to fail, the last of them does."""
    slow = setting(2.0, 1.0, NEAR, Interval(-0.5, 0.16, -0.17), NEAR)
    quick, lost = setting(1.0, 1.0, NEAR, Interval(-0.36, -0.04, -0.2), NEAR), setting(2.0, 0.1, NEAR, NEAR, UNSURE)
    assert slow.heads_to_pass and quick.heads_to_pass and not lost.heads_to_pass
    assert needs(tried(slow, lost, quick)) == quick.needs and needs(tried(slow, lost)) == slow.needs
    rising = setting(2.0, 0.01, NEAR, BELOW, Interval(0.05, 0.25, 0.15))
    falling_short = setting(1.0, 0.1, NEAR, Interval(-0.2, 0.2, 0.0), NEAR)
    assert needs(tried(rising, falling_short)) == max(rising.needs, falling_short.needs, key=lambda one: one.prompts)
    assert needs(SEES) is None and needs(tried(passing(*ORDER[0]))) is None


def test_without_a_trial_nothing_is_recommended():
    """No step is the least of steps: it passes nothing. What the facts refuse needs no trial."""
    advice = recommend(SEES)
    assert (advice.verdict, advice.objective) == (UNDECIDED, "standard")
    assert "no step was tried" in advice.reasons["verdict"] and "gamma 2 and lambda 0.01" in advice.reasons["verdict"]
    assert draft(SEES).gamma == 2.0


def test_the_table_ends_with_a_command_if_there_is_one():
    without, with_one = (recommendation_table(recommend(SEES), line) for line in ("", "python -m train"))
    TABLES["recommendation"].check(with_one)
    assert len(without) == 5 and with_one["setting"].tolist() == [*without["setting"], "command"]
    assert with_one["choice"].iloc[-1] == "python -m train"
