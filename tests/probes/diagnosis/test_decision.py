"""The decision rule, row by row: each row has facts that it alone answers, and gamma moves as it should."""

from dataclasses import replace
from math import inf, nan

import pytest

from geometry.objectives import Objective
from probes.diagnosis import draft
from probes.diagnosis.cases import CASES, DO_NOT_STEER, HARMFUL, NOTHING, STEER, case_of
from probes.diagnosis.decision import candidates, recommend
from probes.diagnosis.facts import Facts
from probes.diagnosis.trial import Trial, Tried
from stats.bootstrap import Interval

SEES = Facts(0.5, 0.1, 0.4, vds_nats=0.2, student_vds_nats=0.1, content_nats=0.8, student_content_nats=0.2)
BLIND = replace(SEES, vds_nats=0.0, content_nats=0.0)
PRESENT = replace(SEES, content_nats=0.01)

ROWS = {
    "teacher equals student": (NOTHING, replace(SEES, standard_nats=1e-9, language_nats=0.0, visual_nats=1e-8)),
    "blind teacher, seeing student": (HARMFUL, replace(BLIND, visual_nats=0.1)),
    "blind teacher, blind student": (DO_NOT_STEER, replace(BLIND, student_vds_nats=0.0, student_content_nats=0.0)),
    "teacher sees presence only, seeing student": (HARMFUL, PRESENT),
    "teacher sees presence only, blind student": (DO_NOT_STEER, replace(PRESENT, student_content_nats=0.0)),
    "student looks harder than teacher": (DO_NOT_STEER, replace(SEES, student_content_nats=1.7)),
    "gap in language": (DO_NOT_STEER, replace(SEES, visual_nats=0.02)),
    "seeing teacher, blind student": (STEER, replace(SEES, student_content_nats=0.001)),
    "both see": (STEER, SEES),
}


def chosen(facts):
    return {choice.setting: choice.choice for choice in recommend(facts)}


def test_every_row_is_tested():
    assert list(ROWS) == [case.name for case in CASES]


@pytest.mark.parametrize("name", ROWS)
def test_a_row(name):
    verdict, facts = ROWS[name]
    assert (case_of(facts).name, case_of(facts).verdict) == (name, verdict)
    found = recommend(facts)
    assert [choice.setting for choice in found] == ["verdict", "objective", "gamma", "lambda", "prior"]
    assert found[0].choice == verdict and all(choice.reason and "{" not in choice.reason for choice in found)
    assert (chosen(facts)["gamma"] == "-") == (verdict != STEER)


@pytest.mark.parametrize("name", ROWS)
def test_what_is_recommended_can_be_trained_on(name):
    found = chosen(ROWS[name][1])
    if found["objective"] == "vgs-lp":
        Objective("vgs-lp", gamma=float(found["gamma"]), lambda_=float(found["lambda"]), prior=found["prior"])
    else:
        assert found["objective"] in ("standard", "none")


def test_without_partners_the_visual_dependencies_count():
    facts = replace(SEES, content_nats=nan, student_content_nats=nan)
    assert not facts.sees_presence_only and facts.looking_share == pytest.approx(2 / 3)
    assert case_of(facts).verdict == STEER
    assert case_of(replace(facts, vds_nats=0.0)).name == "blind teacher, seeing student"


def test_gamma_at_its_landmarks():
    assert SEES.gamma == pytest.approx(2.0)  # the published default, of a teacher that looks four times as hard
    alike = replace(SEES, student_content_nats=0.8)
    assert alike.gamma == pytest.approx(1.25)
    assert replace(SEES, student_content_nats=0.0).gamma == pytest.approx(2.5)
    assert replace(SEES, content_nats=0.0).gamma == 0.0
    assert replace(alike, visual_nats=0.1, language_nats=0.3).gamma == pytest.approx(0.625)


def test_gamma_falls_with_the_students_looking_and_rises_with_the_teachers():
    looks = (0.0, 0.1, 0.3, 0.6)
    of_student = [replace(SEES, student_content_nats=nats).gamma for nats in looks]
    of_teacher = [replace(SEES, content_nats=nats).gamma for nats in looks]
    assert of_student == sorted(of_student, reverse=True) and of_teacher == sorted(of_teacher)
    assert len(set(of_student)) == len(set(of_teacher)) == 4


def forecast(detached, attached, stop=inf):
    stops = {(prior, 0.25 * n): stop for prior in ("detached", "attached") for n in range(17)}
    return replace(SEES, gamma_rise={"detached": detached, "attached": attached}, lambda_stop=stops)


@pytest.mark.parametrize(
    ("facts", "gamma", "lambda_", "prior"),
    [
        (SEES, "2", "0.01", "detached"),  # no forecast
        (forecast(inf, inf), "2", "0.01", "detached"),  # nothing surely rises
        (forecast(2.0, inf), "2", "0.01", "detached"),  # it rises from there on, not before
        (forecast(1.0, inf, 0.2), "2", "0.01", "attached"),  # attached spares it
        (forecast(1.0, 1.0, 0.0123), "2", "0.013", "detached"),
        (forecast(1.0, 1.0, 1e-4), "2", "0.01", "detached"),
        (forecast(1.6, 1.0), "1.5", "0.01", "detached"),  # no lambda stops it: gamma gives way
        (forecast(0.0, 0.0), "2", "1", "detached"),  # standard alone raises it: gamma is not to blame
    ],
)
def test_the_forecast(facts, gamma, lambda_, prior):
    found = chosen(facts)
    assert (found["gamma"], found["lambda"], found["prior"]) == (gamma, lambda_, prior)
    assert found["objective"] == "vgs-lp"


def test_where_no_gamma_is_left_it_is_standard():
    found = chosen(forecast(0.1, 0.1))
    assert (found["objective"], found["gamma"], found["lambda"]) == ("standard", "0", "-")


def tried(*settings, passes=None):
    """The facts with a trial of these settings; `passes` is the one that does."""
    made = []
    for setting in settings:
        language = Interval(-0.1, 0.3, 0.1) if setting == passes else Interval(0.1, 0.3, 0.2)
        made.append(Tried(*setting, language, Interval(-0.3, -0.1, -0.2)))
    return replace(SEES, trial=Trial(4, 3e-4, made))


ORDER = [(2.0, 0.01), (2.0, 0.1), (2.0, 1.0), (1.0, 0.01), (1.0, 0.1), (1.0, 1.0)]


def test_candidates_are_the_draft_then_more_lambda_then_less_gamma():
    assert candidates(SEES) == [(*setting, "detached") for setting in ORDER]
    asked = forecast(1.0, 1.0, 0.2)  # lambda 0.2 by the forecast
    found = candidates(replace(asked, gamma_rise={"detached": 1.0, "attached": 1.0}))
    assert found == [(gamma, lambda_, "detached") for gamma in (2.0, 1.0) for lambda_ in (0.2, 1.0)]
    assert {prior for _, _, prior in candidates(forecast(1.0, inf, 0.2))} == {"attached"}
    mild = replace(SEES, content_nats=0.2, visual_nats=0.1, language_nats=0.3)
    assert [gamma for gamma, _, _ in candidates(mild)] == [0.5] * 3  # nothing milder to fall back to


@pytest.mark.parametrize("name", [name for name, (verdict, _) in ROWS.items() if verdict != STEER])
def test_where_nothing_steers_nothing_is_tried(name):
    facts = ROWS[name][1]
    assert candidates(facts) == []
    of_standard = replace(facts, trial=Trial(4, 3e-4, []))
    assert recommend(of_standard) == recommend(facts)


@pytest.mark.parametrize("n", range(1, 7))
def test_the_first_that_passes_is_recommended(n):
    gamma, lambda_ = ORDER[n - 1]
    facts = tried(*ORDER[:n], passes=ORDER[n - 1])
    found, reasons = chosen(facts), {choice.setting: choice.reason for choice in recommend(facts)}
    assert found["verdict"] == STEER and found["objective"] == "vgs-lp" and found["prior"] == "detached"
    assert (float(found["gamma"]), float(found["lambda"])) == (gamma, lambda_)
    assert "4 steps at rate 0.0003 pass the trial" in reasons["objective"]
    assert "+0.1 (-0.1 to 0.3) nats of language loss, -0.2 (-0.3 to -0.1) of visual loss" in reasons["objective"]
    assert ("the first that passes the trial at gamma" in reasons["lambda"]) == (n > 1)
    assert ("no lambda up to 1 passes the trial; the rule: 2.5 x 0.80" in reasons["gamma"]) == (gamma == 1.0)


def test_where_none_passes_it_is_not_to_steer():
    facts = tried(*ORDER)
    found, reasons = chosen(facts), {choice.setting: choice.reason for choice in recommend(facts)}
    assert (found["verdict"], found["objective"]) == (DO_NOT_STEER, "standard")
    assert {found[name] for name in ("gamma", "lambda", "prior")} == {"-"}
    assert "the teacher looks" in reasons["verdict"] and "no steering passes the trial: " in reasons["verdict"]
    assert "gamma 1 and lambda 1" in reasons["verdict"] and "+0.2 (0.1 to 0.3) nats of language" in reasons["verdict"]


def test_without_a_trial_the_draft_stands_and_says_so():
    assert chosen(SEES) == {choice.setting: choice.choice for choice in draft.draft(SEES)}
    assert recommend(SEES)[1].reason.endswith("; no step was tried")


@pytest.mark.parametrize(("value", "up"), [(0.0123, 0.013), (0.02, 0.02), (0.991, 1.0), (0.5, 0.5)])
def test_lambda_is_rounded_up(value, up):
    assert draft._up(value) == pytest.approx(up)
