"""The verdict rules: each one has evidence that it alone answers."""

from dataclasses import replace
from math import nan

import pytest

from probes.diagnosis.verdict_rules import STEER, VERDICT_RULES, verdict_rule
from tests.probes.diagnosis.cases import CASES, SEES


def test_every_rule_is_tested():
    assert list(CASES) == [rule.name for rule in VERDICT_RULES]


@pytest.mark.parametrize("name", CASES)
def test_a_rule(name):
    verdict, evidence = CASES[name]
    assert (verdict_rule(evidence).name, verdict_rule(evidence).verdict) == (name, verdict)


def test_without_partners_the_visual_dependencies_count():
    evidence = replace(SEES, content_nats=nan, student_content_nats=nan)
    assert verdict_rule(evidence).verdict == STEER
    assert verdict_rule(replace(evidence, vds_nats=0.0)).name == "blind teacher, seeing student"
