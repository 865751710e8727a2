"""The judgement of a setting: what passes, fails or is open, and that uncertainty never makes a setting pass."""

from math import inf, nan, sqrt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.diagnosis.judging import NO_GAIN, PASSES, UNDECIDED, Difference, Needs, signed
from probes.diagnosis.recommendation import recommend
from probes.diagnosis.trial import trial_of
from probes.diagnosis.verdict_rules import STEER
from probes.stages import trial_steps
from probes.stages.trial_steps import CONFIDENCE, MARGIN_SHARE, Pace, Setting, trial_rows
from records.tables.diagnosis import TRIED
from stats import Interval
from tests.probes.diagnosis.cases import ABOVE, BELOW, MARGIN, NEAR, ORDER, SEES, SURE, UNSURE, setting, tried

WIDTHS = st.floats(1.0, 20.0)
ESTIMATES, HALVES = st.floats(-1.0, 1.0), st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("gamma", "intervals", "verdict"),
    [
        (2.0, (NEAR, BELOW, NEAR), PASSES),
        (2.0, (BELOW, BELOW, BELOW), PASSES),
        (2.0, (BELOW, NEAR, NEAR), PASSES),  # the standard loss is what steering is for, too
        (2.0, (NEAR, BELOW, ABOVE), "language above standard"),
        (2.0, (ABOVE, ABOVE, NEAR), "standard and visual above standard"),
        (2.0, (NEAR, NEAR, BELOW), NO_GAIN),  # lower language needs no steering
        (0.0, (NEAR, NEAR, BELOW), PASSES),
        (0.0, (NEAR, BELOW, NEAR), NO_GAIN),
        (2.0, (NEAR, BELOW, UNSURE), UNDECIDED),
        (2.0, (NEAR, UNSURE, NEAR), UNDECIDED),
        (2.0, (UNSURE, UNSURE, UNSURE), UNDECIDED),
        (2.0, (Interval(0.0, 0.0, 0.0),) * 3, NO_GAIN),
        (2.0, (Interval(nan, nan, -0.3),) * 3, UNDECIDED),  # one prompt
    ],
)
def test_a_verdict(gamma, intervals, verdict):
    assert setting(gamma, 1.0, *intervals).verdict == verdict


def test_a_setting_that_did_not_move_anything_is_undecided():
    still = Difference(Interval(0.0, 0.0, 0.0), 0.0)
    assert not (still.is_above or still.is_below or still.is_not_above or still.is_not_below)


def test_words():
    assert signed(Interval(-0.001, 0.02, 0.0123)) == "+0.012 (-0.001 to 0.02)"
    assert setting(2.0, 1.0, NEAR, BELOW, ABOVE).words == (
        "+0 (-0.05 to 0.05) nats of standard loss, -0.3 (-0.4 to -0.2) nats of visual loss,"
        " +0.3 (0.2 to 0.4) nats of language loss"
    )


def test_what_would_decide_by_hand():
    """Half width 0.2, and 0.05 from the margin: 16 times the prompts. The interval holds 0: no number of steps."""
    assert Difference(UNSURE, MARGIN).needs(MARGIN).prompts == pytest.approx(16.0 * SURE, rel=1e-3)
    assert Difference(UNSURE, MARGIN).needs(MARGIN).steps == inf
    rising = Difference(Interval(0.05, 0.25, 0.15), MARGIN)  # at twice the steps its lower bound reaches the margin
    assert rising.needs(MARGIN) == Needs(pytest.approx(4.0 * SURE, rel=1e-3), pytest.approx(2.0))
    falling = Difference(Interval(-0.15, -0.05, -0.1), MARGIN)
    assert falling.needs(-MARGIN) == Needs(inf, pytest.approx(2.0))
    assert Difference(Interval(nan, nan, 0.3), MARGIN).needs(MARGIN) == Needs(inf, inf)


def test_as_many_prompts_as_it_needs_decide_in_four_of_five_cases():
    rng, se = np.random.default_rng(0), 0.05
    estimate, margin = 0.02, 0.08
    interval = Interval(estimate - 2.5758 * se, estimate + 2.5758 * se, estimate)
    then = se / sqrt(Difference(interval, margin).needs(margin).prompts)
    upper = estimate + then * (rng.normal(size=20_000) + 2.5758)
    assert np.mean(upper < margin) == pytest.approx(0.8, abs=0.01)


def test_a_setting_needs_what_its_hardest_question_needs():
    falling, rising = Interval(-0.3, -0.05, -0.175), Interval(0.05, 0.25, 0.15)
    needs = setting(2.0, 1.0, NEAR, falling, UNSURE).needs  # 2.8 for the gain, 16 for the language
    assert needs.prompts == pytest.approx(16.0 * SURE, rel=1e-3) and needs.steps == inf
    needs = setting(2.0, 1.0, NEAR, falling, NEAR).needs
    assert needs == Needs(pytest.approx((0.125 / 0.075) ** 2 * SURE, rel=1e-3), pytest.approx(2.0))
    needs = setting(2.0, 1.0, NEAR, falling, rising).needs  # the language alone settles it
    assert needs == Needs(pytest.approx(4.0 * SURE, rel=1e-3), pytest.approx(2.0))
    needs = setting(2.0, 1.0, Interval(-0.2, 0.2, 0.0), Interval(-0.15, 0.15, 0.0), NEAR).needs  # neither gains
    assert needs.prompts == pytest.approx(4.0 * SURE, rel=1e-3) and needs.steps == inf


@given(st.lists(st.tuples(ESTIMATES, HALVES), min_size=3, max_size=3), WIDTHS, st.sampled_from([0.0, 2.0]))
def test_a_wider_interval_never_makes_a_setting_pass(ends, wider, gamma):
    """And with as many prompts as it needs, an undecided setting is decided if its estimates stay."""
    narrow = [Interval(mean - half, mean + half, mean) for mean, half in ends]
    wide = [Interval(mean - wider * half, mean + wider * half, mean) for mean, half in ends]
    verdicts = [setting(gamma, 1.0, *intervals).verdict for intervals in (narrow, wide)]
    assert verdicts[0] == PASSES or verdicts[1] != PASSES
    one = setting(gamma, 1.0, *narrow)
    if one.verdict == UNDECIDED and one.needs.prompts < 1e6:
        shrunk = 1.001 * sqrt(one.needs.prompts)
        assert shrunk >= 1.0
        more = [Interval(mean - half / shrunk, mean + half / shrunk, mean) for mean, half in ends]
        assert setting(gamma, 1.0, *more).verdict != UNDECIDED


@given(st.lists(st.tuples(ESTIMATES, HALVES), min_size=30, max_size=30), WIDTHS)
def test_a_wider_interval_never_turns_a_recommendation_into_steering(ends, wider):
    """Of a whole trial: nothing else than `steer` becomes `steer` when the intervals of all settings grow."""

    def verdict(factor):
        made = [Interval(mean - factor * half, mean + factor * half, mean) for mean, half in ends]
        settings = [setting(*order[:2], *made[3 * n : 3 * n + 3], prior=order[2]) for n, order in enumerate(ORDER)]
        return recommend(tried(*settings)).verdict

    assert verdict(1.0) == STEER or verdict(wider) != STEER


def simulated(effects, n_prompts, draw, scale=1.0):
    """Verdict of a simulated trial: true differences `effects` by loss, prompts and tokens with noise of their own.

    `scale` stands for the steps: all changes grow in proportion.
    """
    prompts = np.repeat(np.arange(n_prompts), 3)
    common = pd.DataFrame({"prompt_id": prompts.astype(str), "bin": 0})
    moved, own = draw.normal(0.0, 1.25, (2, len(prompts)))  # of a mean size of 1: a margin of 0.1
    by_prompt = draw.normal(0.0, 0.2, n_prompts)[prompts]
    standard = common.assign(**dict.fromkeys(TRIED, scale * moved))
    differences = {loss: scale * (effect + by_prompt + 0.2 * own) for loss, effect in effects.items()}
    changes = common.assign(**{loss: standard[loss] + differences[loss] for loss in TRIED})
    setting_of = Setting(2.0, 1.0, "detached")
    pace = Pace(4, 3e-4)
    frames = [trial_rows(Setting(0.0, 0.0, "detached"), pace, standard, standard, 1, 0)]
    frames.append(trial_rows(setting_of, pace, changes, standard, 1, 0))
    return recommend(replace_trial(pd.concat(frames))).verdict


def replace_trial(table):
    return tried(*trial_of(table).tried)


@pytest.fixture
def without_bootstrap(monkeypatch):
    """Leave out the intervals of the changes themselves, which no verdict reads."""
    monkeypatch.setattr(trial_steps, "bootstrap_interval", lambda *_, **__: Interval(nan, nan, nan))


GOOD = {"standard": -0.4, "visual": -0.4, "language": 0.0}
HARMFUL = {"standard": 0.0, "visual": -0.4, "language": 0.3}
NOTHING = dict.fromkeys(TRIED, 0.0)
SIZES = (3, 24, 192)


def test_fewer_prompts_do_not_make_more_steering(without_bootstrap):
    """Simulated prompts: a good setting passes more often with more of them, bad and idle ones hardly ever."""
    draw = np.random.default_rng(0)
    shares = {}
    for name, effects in (("good", GOOD), ("harmful", HARMFUL), ("nothing", NOTHING)):
        shares[name] = [np.mean([simulated(effects, n, draw) == STEER for _ in range(20)]) for n in SIZES]
    assert shares["good"] == sorted(shares["good"]) and shares["good"][0] < 0.1 and shares["good"][-1] == 1.0
    assert max(shares["harmful"]) <= 0.05 and max(shares["nothing"]) <= 0.05


@pytest.mark.parametrize("effects", [GOOD, HARMFUL, NOTHING], ids=["good", "harmful", "nothing"])
def test_fewer_steps_that_move_everything_less_change_no_verdict(effects, without_bootstrap):
    """The margin is a share of what moves, so that small steps pass nothing that large ones do not."""
    verdicts = {scale: simulated(effects, 48, np.random.default_rng(1), scale) for scale in (1.0, 0.1, 0.001)}
    assert len(set(verdicts.values())) == 1


def test_constants_are_those_that_are_stated():
    assert MARGIN_SHARE == 0.1 and CONFIDENCE == 0.99 and recommend(SEES).verdict == UNDECIDED
