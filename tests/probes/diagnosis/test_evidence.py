"""The evidence: gamma moves with it as it should."""

from dataclasses import replace
from math import inf, nan

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.diagnosis.evidence import evidence_of
from records.tables.diagnosis import MEANS
from tests.probes.diagnosis.cases import SEES

MEANS_NATS = [f"{name}_nats" for name in MEANS]


def test_without_partners_the_visual_dependencies_count():
    evidence = replace(SEES, content_nats=nan, student_content_nats=nan)
    assert not evidence.sees_presence_only and evidence.looking_share == pytest.approx(2 / 3)


def test_gamma_at_its_landmarks():
    assert SEES.gamma == pytest.approx(2.0)  # the published default, of a teacher that looks four times as hard
    alike = replace(SEES, student_content_nats=0.8)
    assert alike.gamma == pytest.approx(1.25)
    assert replace(SEES, student_content_nats=0.0).gamma == pytest.approx(2.5)
    assert replace(SEES, content_nats=0.0).gamma == 0.0
    assert replace(SEES, language_nats=0.0).gamma == 0.0  # no gap in language: steering is standard distillation
    assert replace(SEES, visual_nats=0.975, language_nats=0.025).gamma == pytest.approx(1.0)
    assert replace(alike, visual_nats=0.1, language_nats=0.3).gamma == pytest.approx(0.625)


def test_gamma_falls_with_the_students_looking_and_rises_with_the_teachers():
    looks = (0.0, 0.1, 0.3, 0.6)
    of_student = [replace(SEES, student_content_nats=nats).gamma for nats in looks]
    of_teacher = [replace(SEES, content_nats=nats).gamma for nats in looks]
    assert of_student == sorted(of_student, reverse=True) and of_teacher == sorted(of_teacher)
    assert len(set(of_student)) == len(set(of_teacher)) == 4


@given(st.floats(0.9, 1.0), st.floats(0.9, 1.0))
def test_a_visual_share_near_one_never_recommends_more_gamma(first, second):
    """From 95 % on gamma falls with the visual share, and it is 0 at 1."""
    low, high = sorted((first, second))
    gammas = [replace(SEES, visual_nats=share, language_nats=1.0 - share).gamma for share in (low, high)]
    assert gammas[1] <= gammas[0] + 1e-12


@pytest.mark.parametrize(
    ("low", "high", "silent"), [(0.0, inf, True), (0.1, inf, False), (0.0, 3.0, False), (0.5, 1.0, False)]
)
def test_readings_from_zero_to_infinity_are_left_out(low, high, silent):
    tokens = pd.DataFrame({"bin": [0], **dict.fromkeys(MEANS_NATS, [0.1])})
    content = pd.DataFrame({"teacher_nats": [0.1], "student_nats": [0.1]})
    known = {"prior": "detached", "low": low, "high": high}
    rows = [known | {"reading": "gamma_rise", "gamma": nan, "estimate": 0.7}]
    rows += [known | {"reading": "lambda_stop", "gamma": 2.0, "estimate": 0.3}]
    evidence = evidence_of({"tokens": tokens, "content": content, "readings": pd.DataFrame(rows)})
    assert evidence.has_forecast
    assert evidence.gamma_rise == ({} if silent else {"detached": high})
    assert evidence.lambda_stop == ({} if silent else {("detached", 2.0): 0.3})
