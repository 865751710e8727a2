"""Changes of gradients, lengths and times, by hand."""

import pandas as pd
import pytest

from records.journal_lines import PHASES
from study.claims.evidence import NotMeasured
from study.claims.journals import cosine, drift, eta, growth, norm_ratio, step_time
from tests.study.claims.made import by_seed, reader


def gradients():
    """Seven steps of two seeds: the visual norm doubles from the first two to the last two, then triples."""
    lengths = [[1, 1, 5, 5, 5, 2, 2], [1, 1, 5, 5, 5, 3, 3]]
    rows = [[{"norm_visual": float(length), "norm_standard": 2.0} for length in seed] for seed in lengths]
    for seed in rows:
        for step, row in enumerate(seed):
            row["angle_standard_visual_deg"] = 90.0 if step < 4 else 60.0
    return reader(gradients=by_seed(rows, scope="all"))


def test_the_last_third_over_the_first():
    found = drift("a", norm_ratio).of(gradients())
    assert (found.least, found.value, found.greatest, found.n_seeds) == (2.0, 2.5, 3.0, 2)
    assert (found.low, found.high) == pytest.approx((2.5 - 0.5 * 12.7062, 2.5 + 0.5 * 12.7062))  # Student's t of two
    assert found.sample == "first and last 2 of 7 measured steps"


def test_a_cosine_is_subtracted():
    assert drift("a", cosine, relative=False).of(gradients()).value == pytest.approx(0.5)


def test_eta_is_that_of_equation_15():
    first, last = 2 / 8**0.5, (2 / (4 + 16 + 8) ** 0.5, 2 / (4 + 36 + 12) ** 0.5)
    found = drift("a", eta).of(gradients())
    assert (found.least, found.greatest) == pytest.approx((last[1] / first, last[0] / first))


def test_other_scopes_do_not_count():
    table = gradients()("gradients")
    other = table.assign(scope="language_model", norm_visual=50.0)
    assert drift("a", norm_ratio).of(reader(gradients=pd.concat([table, other]))).value == 2.5


def test_the_last_evaluation_over_the_first():
    rows = [
        [{"response_tokens": 20.0}, {"response_tokens": 25.0}],
        [{"response_tokens": 20.0}, {"response_tokens": 30.0}],
    ]
    groups = [by_seed(rows, group=group) for group in ("high", "low")]
    found = growth("a").of(reader(evaluations=pd.concat(groups)))
    assert (found.least, found.value, found.greatest) == (1.25, 1.375, 1.5)


def test_a_slow_step_does_not_count():
    def steps(arm, scale):
        rows = [[{f"{phase}_seconds": scale * s for phase in PHASES} for s in (1.0, 1.0, 50.0)] for _ in range(2)]
        return by_seed(rows, (arm,))

    tables = reader(steps=pd.concat([steps("a", 1.5), steps("b", 1.0)]))
    assert step_time("a", "b").of(tables).value == pytest.approx(1.5)
    with pytest.raises(NotMeasured):
        step_time("a", "c").of(tables)
