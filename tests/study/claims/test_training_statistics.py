"""Differences between arms: those of the committed `effects.csv`, of losses with Student's t, and by hand.

Changes of gradients, lengths and times by hand."""

from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import t

from records import read_record
from records.journal_lines import PHASES
from study.claims.claim import Above, NotMeasured
from study.claims.judging import ClaimVerdict, judge
from study.claims.training_statistics import (
    ALL_TOKENS,
    accuracy,
    cosine,
    drift,
    eta,
    growth,
    loss,
    norm_ratio,
    step_time,
)
from study.comparison import UPPER_BINS
from tests.study.claims.made import by_seed, reader, verdicts

STUDY = Path(__file__).resolve().parents[3] / "figures" / "gallery" / "study"


@pytest.fixture(scope="module")
def study():
    """The committed study."""
    return read_record(STUDY, "curves", "verdicts", "effects").tables


def same(found, row, factor=1.0, wider=1.0):
    """The numbers of a row of the effects, in other units, its interval wider."""
    theirs = [factor * row[name] for name in ("difference", "low", "high", "least", "greatest")]
    theirs[1:3] = [theirs[0] + wider * (end - theirs[0]) for end in theirs[1:3]]
    ours = [found.value, found.low, found.high, found.least, found.greatest]
    assert ours == pytest.approx(theirs, nan_ok=True), f"{row['arm']} against {row['against']}"
    assert found.n_seeds == row["n_seeds"]


def test_accuracies_are_those_of_the_effects(study):
    rows = study["effects"].query("quantity == 'correct'").to_dict("records")
    assert len(rows) > 30
    for row in rows[::2]:
        same(accuracy(row["arm"], row["against"], row["where"]).estimate(reader(**study)), row, 100.0)


def test_losses_are_those_of_the_effects_and_their_intervals_students(study):
    rows = study["effects"].query("quantity != 'correct'").to_dict("records")
    assert len(rows) > 30
    for row in rows[::3]:
        bins = {"all": ALL_TOKENS, "bins 7-9": UPPER_BINS}[row["where"]]
        wider = t.ppf(0.975, row["n_seeds"] - 1) / 2  # nan of one seed
        same(loss(row["arm"], row["against"], row["quantity"], bins).estimate(reader(**study)), row, wider=wider)


def test_answers_by_hand():
    found = accuracy("a", "b", "low").estimate(reader(verdicts=verdicts({"a": 0.75, "b": 0.5})))
    assert (found.value, found.least, found.greatest, found.n_seeds) == (25.0, 25.0, 25.0, 3)
    assert 19 < found.low < 25 < found.high < 32
    assert judge(found, Above(0)) is ClaimVerdict.REPRODUCED


def test_the_smallest_difference_told_is_that_of_scenes_or_of_seeds():
    alike = accuracy("a", "b", "low").estimate(reader(verdicts=verdicts({"a": 0.75, "b": 0.5})))
    assert alike.detectable == (alike.high - alike.low) / 2
    frames = [verdicts({"a": share, "b": 0.5}, (seed,)) for seed, share in enumerate((0.6, 0.7, 0.8))]
    apart = accuracy("a", "b", "low").estimate(reader(verdicts=pd.concat(frames)))  # 10, 20 and 30 points
    assert apart.high - apart.low < 20
    assert apart.detectable == pytest.approx(4.30265 * 10 / 3**0.5)


def test_the_untrained_student_is_the_same_for_every_seed():
    tables = reader(verdicts=verdicts({"a": 0.75, "initial": 0.5}).query("arm == 'a' or seed == 0"))
    assert accuracy("a", "initial", "high").estimate(tables).n_seeds == 3


def test_one_seed_has_an_interval_over_scenes_and_decides_nothing():
    found = accuracy("a", "b", "high").estimate(reader(verdicts=verdicts({"a": 0.75, "b": 0.5}, seeds=(1,))))
    assert found.low > 0 and judge(found, Above(0)) is ClaimVerdict.ONE_SEED
    assert found.detectable == (found.high - found.low) / 2


def curves():
    """Losses of two arms and two seeds at steps 0 to 2; in bin 8 ten times those of bin 7."""
    frames = []
    for arm, scale in (("a", 2.0), ("b", 1.0)):
        for bin_, times in ((7, 1.0), (8, 10.0)):
            rows = [[{"visual_nats": times * scale * (1 + step + seed)} for step in range(3)] for seed in range(2)]
            frames.append(by_seed(rows, (arm,), rollouts="fixed", bin=bin_))
    own = frames[0].assign(rollouts="own", visual_nats=99.0)
    return reader(curves=pd.concat([*frames, own]))


def test_losses_by_hand():
    last = loss("a", "b", "visual", (7, 8)).estimate(curves())  # of the seeds 5.5 times 3 and 4
    assert (last.least, last.value, last.greatest) == (16.5, 19.25, 22.0)
    half = 12.7062 * 2.75  # Student's t of two seeds, and the standard error
    assert (last.low, last.high) == pytest.approx((19.25 - half, 19.25 + half))
    assert loss("a", "b", "visual", (7,), 1).estimate(curves()).value == 2.5
    assert loss("a", "initial", "visual", (7,)).estimate(curves()).value == 4.0


@pytest.mark.parametrize(
    "asked", [("a", "c", "visual", (7,)), ("a", "b", "visual", (7,), 9), ("a", "b", "visual", (3,))]
)
def test_an_arm_a_step_or_a_bin_that_is_not_there_was_not_measured(asked):
    with pytest.raises(NotMeasured):
        loss(*asked).estimate(curves())


def test_arms_without_a_common_seed_were_not_measured():
    rows = verdicts({"a": 0.5, "b": 0.5}).query("(arm == 'a') == (seed == 0)")
    with pytest.raises(NotMeasured):
        accuracy("a", "b", "high").estimate(reader(verdicts=rows))


def gradients():
    """Seven steps of two seeds: the visual norm doubles from the first two to the last two, then triples."""
    lengths = [[1, 1, 5, 5, 5, 2, 2], [1, 1, 5, 5, 5, 3, 3]]
    rows = [[{"norm_visual": float(length), "norm_standard": 2.0} for length in seed] for seed in lengths]
    for seed in rows:
        for step, row in enumerate(seed):
            row["angle_standard_visual_deg"] = 90.0 if step < 4 else 60.0
    return reader(gradients=by_seed(rows, scope="all"))


def test_the_last_third_over_the_first():
    found = drift("a", norm_ratio).estimate(gradients())
    assert (found.least, found.value, found.greatest, found.n_seeds) == (2.0, 2.5, 3.0, 2)
    assert (found.low, found.high) == pytest.approx((2.5 - 0.5 * 12.7062, 2.5 + 0.5 * 12.7062))  # Student's t of two
    assert found.sample == "first and last 2 of 7 measured steps"


def test_a_cosine_is_subtracted():
    assert drift("a", cosine, relative=False).estimate(gradients()).value == pytest.approx(0.5)


def test_eta_is_that_of_equation_15():
    first, last = 2 / 8**0.5, (2 / (4 + 16 + 8) ** 0.5, 2 / (4 + 36 + 12) ** 0.5)
    found = drift("a", eta).estimate(gradients())
    assert (found.least, found.greatest) == pytest.approx((last[1] / first, last[0] / first))


def test_other_scopes_do_not_count():
    table = gradients()("gradients")
    other = table.assign(scope="language_model", norm_visual=50.0)
    assert drift("a", norm_ratio).estimate(reader(gradients=pd.concat([table, other]))).value == 2.5


def test_the_last_evaluation_over_the_first():
    rows = [
        [{"response_tokens": 20.0}, {"response_tokens": 25.0}],
        [{"response_tokens": 20.0}, {"response_tokens": 30.0}],
    ]
    groups = [by_seed(rows, group=group) for group in ("high", "low")]
    found = growth("a").estimate(reader(evaluations=pd.concat(groups)))
    assert (found.least, found.value, found.greatest) == (1.25, 1.375, 1.5)


def test_a_slow_step_does_not_count():
    def steps(arm, scale):
        rows = [[{f"{phase}_seconds": scale * s for phase in PHASES} for s in (1.0, 1.0, 50.0)] for _ in range(2)]
        return by_seed(rows, (arm,))

    tables = reader(steps=pd.concat([steps("a", 1.5), steps("b", 1.0)]))
    assert step_time("a", "b").estimate(tables).value == pytest.approx(1.5)
    with pytest.raises(NotMeasured):
        step_time("a", "c").estimate(tables)
