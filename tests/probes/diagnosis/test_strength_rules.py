"""The draft: gamma, lambda and the prior by the evidence and the forecast, before any step is tried."""

from math import inf

import pytest

from probes.diagnosis import strength_rules
from probes.diagnosis.strength_rules import draft
from tests.probes.diagnosis.cases import SEES, forecast


@pytest.mark.parametrize(
    ("evidence", "gamma", "lambda_", "prior"),
    [
        (SEES, 2.0, 0.01, "detached"),  # no forecast
        (forecast(inf, inf), 2.0, 0.01, "detached"),  # nothing surely rises
        (forecast(2.0, inf), 2.0, 0.01, "detached"),  # it rises from there on, not before
        (forecast(1.0, inf, 0.2), 2.0, 0.01, "attached"),  # attached spares it
        (forecast(1.0, 1.0, 0.0123), 2.0, 0.013, "detached"),
        (forecast(1.0, 1.0, 1e-4), 2.0, 0.01, "detached"),
        (forecast(1.6, 1.0), 1.5, 0.01, "detached"),  # no lambda stops it: gamma gives way
        (forecast(0.0, 0.0), 2.0, 1.0, "detached"),  # standard alone raises it: gamma is not to blame
    ],
)
def test_the_forecast(evidence, gamma, lambda_, prior):
    drafted = draft(evidence)
    assert (drafted.gamma, drafted.lambda_, drafted.prior) == (gamma, lambda_, prior)
    assert drafted.objective == "vgs-lp"


def test_where_no_gamma_is_left_it_is_standard():
    drafted = draft(forecast(0.1, 0.1))
    assert (drafted.objective, drafted.gamma, drafted.lambda_) == ("standard", 0.0, None)
    assert [row["choice"] for row in drafted.rows[1:4]] == ["standard", "0", "-"]


@pytest.mark.parametrize(("value", "up"), [(0.0123, 0.013), (0.02, 0.02), (0.991, 1.0), (0.5, 0.5)])
def test_lambda_is_rounded_up(value, up):
    assert strength_rules._up(value) == pytest.approx(up)
