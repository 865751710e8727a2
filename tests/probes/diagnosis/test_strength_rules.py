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
        (forecast(None, None, None), 2.0, 0.01, "detached"),  # it cannot tell: as without a forecast
        (forecast(None, 3.0, 0.2), 2.0, 0.01, "detached"),  # priors cannot be compared
        (forecast(1.0, 1.0, None), 2.0, 0.01, "detached"),  # it rises, and which lambda stops it is not told
        (forecast(0.0, 0.0), 2.0, 1.0, "detached"),  # standard alone raises it: gamma is not to blame
    ],
)
def test_the_forecast(evidence, gamma, lambda_, prior):
    drafted = draft(evidence)
    assert (drafted.gamma, drafted.lambda_, drafted.prior) == (gamma, lambda_, prior)
    assert drafted.objective == "vgs-lp"


def test_where_no_gamma_is_left_preservation_alone_is_drafted():
    drafted = draft(forecast(0.1, 0.1))
    assert (drafted.objective, drafted.gamma, drafted.lambda_) == ("vgs-lp", 0.0, 0.01)
    assert [row["choice"] for row in drafted.rows[1:4]] == ["vgs-lp", "0", "0.01"]
    assert "preservation alone" in drafted.reasons["objective"]


def test_a_forecast_that_cannot_tell_says_so():
    reasons = draft(forecast(None, None, None)).reasons
    assert "interval runs from 0 to infinity" in reasons["prior"] and "chooses nothing" in reasons["lambda"]
    assert "no forecast" in draft(SEES).reasons["prior"]


@pytest.mark.parametrize(("value", "up"), [(0.0123, 0.013), (0.02, 0.02), (0.991, 1.0), (0.5, 0.5)])
def test_lambda_is_rounded_up(value, up):
    assert strength_rules._up(value) == pytest.approx(up)
