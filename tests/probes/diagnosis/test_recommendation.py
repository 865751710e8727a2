"""The recommendation: what the evidence and a trial of the draft come to, each choice with its reason."""

from dataclasses import replace
from math import inf

import pytest

from geometry import Objective
from probes.diagnosis.recommendation import candidates, recommend, recommendation_table
from probes.diagnosis.strength_rules import draft
from probes.diagnosis.trial import Trial
from probes.diagnosis.verdict_rules import DO_NOT_STEER, STEER
from records import TABLES
from tests.probes.diagnosis.cases import CASES, ORDER, SEES, WITHOUT_STEERING, forecast, tried


def chosen(evidence):
    return {row["setting"]: row["choice"] for row in recommend(evidence).rows}


def settings(candidates):
    return [(one.gamma, one.lambda_, one.prior) for one in candidates]


@pytest.mark.parametrize("name", CASES)
def test_every_verdict_comes_with_all_settings_and_their_reasons(name):
    verdict, evidence = CASES[name]
    rows = recommend(evidence).rows
    assert [row["setting"] for row in rows] == ["verdict", "objective", "gamma", "lambda", "prior"]
    assert rows[0]["choice"] == verdict and all(row["reason"] and "{" not in row["reason"] for row in rows)
    assert (chosen(evidence)["gamma"] == "-") == (verdict != STEER)


@pytest.mark.parametrize("name", CASES)
def test_a_recommendation_can_be_trained_on(name):
    found = chosen(CASES[name][1])
    if found["objective"] == "vgs-lp":
        Objective("vgs-lp", gamma=float(found["gamma"]), lambda_=float(found["lambda"]), prior=found["prior"])
    else:
        assert found["objective"] in ("standard", "none")


def test_numbers_are_written_as_they_are():
    assert chosen(SEES) == {
        "verdict": STEER,
        "objective": "vgs-lp",
        "gamma": "2",
        "lambda": "0.01",
        "prior": "detached",
    }
    assert chosen(forecast(1.0, 1.0, 0.0123))["lambda"] == "0.013"


def test_candidates_are_the_draft_then_more_lambda_then_less_gamma():
    assert settings(candidates(SEES)) == [(*setting, "detached") for setting in ORDER]
    asked = forecast(1.0, 1.0, 0.2)  # lambda 0.2 by the forecast
    assert settings(candidates(asked)) == [
        (gamma, lambda_, "detached") for gamma in (2.0, 1.0) for lambda_ in (0.2, 1.0)
    ]
    assert {one.prior for one in candidates(forecast(1.0, inf, 0.2))} == {"attached"}
    mild = replace(SEES, content_nats=0.2, visual_nats=0.1, language_nats=0.3)
    assert [one.gamma for one in candidates(mild)] == [0.5] * 3  # nothing milder to fall back to


@pytest.mark.parametrize("name", WITHOUT_STEERING)
def test_where_nothing_steers_nothing_is_tried(name):
    evidence = CASES[name][1]
    assert candidates(evidence) == []
    of_standard = replace(evidence, trial=Trial(4, 3e-4, []))
    assert recommend(of_standard) == recommend(evidence)


@pytest.mark.parametrize("n", range(1, 7))
def test_the_first_that_passes_is_recommended(n):
    gamma, lambda_ = ORDER[n - 1]
    evidence = tried(*ORDER[:n], passes=ORDER[n - 1])
    found, reasons = chosen(evidence), recommend(evidence).reasons
    assert found["verdict"] == STEER and found["objective"] == "vgs-lp" and found["prior"] == "detached"
    assert (float(found["gamma"]), float(found["lambda"])) == (gamma, lambda_)
    assert "4 steps at rate 0.0003 pass the trial" in reasons["objective"]
    assert "+0.1 (-0.1 to 0.3) nats of language loss, -0.2 (-0.3 to -0.1) of visual loss" in reasons["objective"]
    assert ("the first that passes the trial at gamma" in reasons["lambda"]) == (n > 1)
    assert ("no lambda up to 1 passes the trial; the rule: 2.5 x 0.80" in reasons["gamma"]) == (gamma == 1.0)


def test_where_none_passes_it_is_not_to_steer():
    evidence = tried(*ORDER)
    found, reasons = chosen(evidence), recommend(evidence).reasons
    assert (found["verdict"], found["objective"]) == (DO_NOT_STEER, "standard")
    assert {found[name] for name in ("gamma", "lambda", "prior")} == {"-"}
    assert "the teacher looks" in reasons["verdict"] and "no steering passes the trial: " in reasons["verdict"]
    assert "gamma 1 and lambda 1" in reasons["verdict"] and "+0.2 (0.1 to 0.3) nats of language" in reasons["verdict"]


def test_without_a_trial_the_draft_stands_and_says_so():
    advice = recommend(SEES)
    assert replace(advice, reasons={}) == replace(draft(SEES), reasons={})
    assert advice.reasons["objective"].endswith("; no step was tried")


def test_the_table_ends_with_a_command_if_there_is_one():
    without, with_one = (recommendation_table(recommend(SEES), line) for line in ("", "python -m train"))
    TABLES["recommendation"].check(with_one)
    assert len(without) == 5 and with_one["setting"].tolist() == [*without["setting"], "command"]
    assert with_one["choice"].iloc[-1] == "python -m train"
