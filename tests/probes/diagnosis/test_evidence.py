"""The evidence: gamma moves with it as it should."""

from dataclasses import replace
from math import nan

import pytest

from tests.probes.diagnosis.cases import SEES


def test_without_partners_the_visual_dependencies_count():
    evidence = replace(SEES, content_nats=nan, student_content_nats=nan)
    assert not evidence.sees_presence_only and evidence.looking_share == pytest.approx(2 / 3)


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
