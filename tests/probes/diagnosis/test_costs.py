"""What a step costs, from what was measured."""

import pytest

from probes.diagnosis.costs import step_seconds


def test_a_step_costs_what_its_parts_cost():
    """Two models of one size: a view is a quarter of scoring, a backward pass two views."""
    spent = step_seconds({"rollouts": 1.0, "scoring": 4.0}, 10.0, 5, 5)
    assert spent == pytest.approx({"standard": 10 * (1 + 2 + 2), "vgs-lp": 10 * (1 + 4 + 4)})
