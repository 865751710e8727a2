"""Regrets and thresholds, on tables whose answers are known by hand."""

import math

import pandas as pd
import pytest

from study.validation.policies import (
    always,
    always_standard,
    below,
    by_advice,
    fitted_threshold,
    held_out,
    leave_kinds_out,
    mean_regret,
    regrets,
    split_in_half,
)
from study.validation.reading import LOSS, POINTS
from tests.study.validation.tables import line, row, table

PUBLISHED = always(2.0, 0.01)
STRONG = {"gamma": 2.0, "lambda": 1.0}
ROWS = table(
    row("a", **{LOSS: -0.3, POINTS: 1.0}),
    row("a", **STRONG, advised=True, **{LOSS: -0.1, POINTS: 4.0}),
    row("b", **{LOSS: 0.2, POINTS: -3.0}),
)
"""On pair a the diagnosis takes lambda 1, and lambda 0.01 has the lower loss; on b it takes standard."""


@pytest.mark.parametrize(
    ("policy", "endpoint", "expected"),
    [
        (by_advice, LOSS, {"a": 0.2, "b": 0.0}),
        (always_standard, LOSS, {"a": 0.3, "b": 0.0}),
        (PUBLISHED, LOSS, {"a": 0.0, "b": 0.2}),
        (by_advice, POINTS, {"a": 0.0, "b": 0.0}),
        (always_standard, POINTS, {"a": 4.0, "b": 0.0}),
        (PUBLISHED, POINTS, {"a": 3.0, "b": 3.0}),
    ],
)
def test_regrets_by_hand(policy, endpoint, expected):
    assert regrets(ROWS, policy, endpoint).to_dict() == pytest.approx(expected)
    assert mean_regret(ROWS, policy, endpoint).estimate == pytest.approx(sum(expected.values()) / 2)


def test_pairs_without_the_endpoint_are_left_out():
    rows = table(row("a", **{LOSS: math.nan}), row("b", **{LOSS: -0.1}))
    assert regrets(rows, always_standard).to_dict() == pytest.approx({"b": 0.1})


def test_pairs_that_did_not_train_the_setting_of_a_policy_are_left_out():
    assert regrets(ROWS, always(2.0, 1.0)).to_dict() == pytest.approx({"a": 0.2})
    assert regrets(ROWS, always(4.0, 1.0)).empty


def test_where_prediction_is_right_the_threshold_is_between_help_and_harm():
    """Pairs at -0.3, -0.2, ... 0.2: any threshold from -0.1 to 0.1 has no regret, and the least such one is taken."""
    rows = line(6)
    threshold = fitted_threshold(rows)
    assert -0.1 < threshold < 0.0 and mean_regret(rows, below(threshold)).estimate == pytest.approx(0.0)
    assert mean_regret(rows, always_standard).estimate == pytest.approx(0.1)


def test_where_prediction_is_the_wrong_way_round_it_does_not_steer_blindly():
    """What is predicted lowest harms: over all pairs never to steer costs least."""
    rows = table(*(row(f"p{n}", predicted=-1.0 + 0.1 * n, **{LOSS: 0.3 - 0.1 * n}) for n in range(4)))
    assert fitted_threshold(rows) == -math.inf


def test_what_is_fitted_is_judged_on_other_pairs():
    """The pairs that are judged would have another threshold; they have no part in it."""
    fit, judged = line(6), line(4, slope=-1.0).assign(pair=lambda frame: "q" + frame["pair"])
    result = held_out(pd.concat([fit, judged], ignore_index=True), "q", sorted(judged["pair"].unique()))
    assert result.threshold_nats == fitted_threshold(fit) and list(result.pairs) == sorted(judged["pair"])
    assert result.regret.estimate == pytest.approx((0.3 + 0.2 + 0.1 + 0.0) / 4)


def test_halves_are_drawn_by_their_seed():
    rows = line(7)
    assert split_in_half(rows, 0) == split_in_half(rows, 0) and len(split_in_half(rows, 0)) == 3
    assert len({tuple(split_in_half(rows, seed)) for seed in range(5)}) > 1


def test_each_kind_is_left_out_once():
    kinds = leave_kinds_out(line(6))
    assert [one.name for one in kinds] == ["language", "vision"]
    assert [list(one.pairs) for one in kinds] == [["p00", "p02", "p04"], ["p01", "p03", "p05"]]
    assert leave_kinds_out(line(6, kinds=("one", "one"))) == []
