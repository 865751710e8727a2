"""Differences between arms: those of the committed `effects.csv`, and by hand."""

from pathlib import Path

import pandas as pd
import pytest

from probes.claims.evidence import NotMeasured, Verdict, judge
from probes.claims.regions import Above
from probes.claims.training import ALL_TOKENS, VISUAL_BINS, accuracy, loss
from records import read_record
from tests.probes.claims.made import by_seed, reader, verdicts

STUDY = Path(__file__).resolve().parents[3] / "figures" / "gallery" / "study"


@pytest.fixture(scope="module")
def study():
    """The committed study."""
    return read_record(STUDY, "curves", "verdicts", "effects").tables


def same(found, row, factor=1.0):
    ours = [found.value, found.low, found.high, found.least, found.greatest]
    theirs = [factor * row[name] for name in ("difference", "low", "high", "least", "greatest")]
    assert ours == pytest.approx(theirs, nan_ok=True), f"{row['arm']} against {row['against']}"
    assert found.n_seeds == row["n_seeds"]


def test_accuracies_are_those_of_the_effects(study):
    rows = study["effects"].query("quantity == 'correct'").to_dict("records")
    assert len(rows) > 30
    for row in rows[::2]:
        same(accuracy(row["arm"], row["against"], row["where"]).of(reader(**study)), row, 100.0)


def test_losses_are_those_of_the_effects(study):
    rows = study["effects"].query("quantity != 'correct'").to_dict("records")
    assert len(rows) > 30
    for row in rows[::3]:
        bins = {"all": ALL_TOKENS, "bins 7-9": VISUAL_BINS}[row["where"]]
        same(loss(row["arm"], row["against"], row["quantity"], bins).of(reader(**study)), row)


def test_answers_by_hand():
    found = accuracy("a", "b", "low").of(reader(verdicts=verdicts({"a": 0.75, "b": 0.5})))
    assert (found.value, found.least, found.greatest, found.n_seeds) == (25.0, 25.0, 25.0, 3)
    assert 19 < found.low < 25 < found.high < 32
    assert judge(found, Above(0)) is Verdict.REPRODUCED


def test_the_untrained_student_is_the_same_for_every_seed():
    tables = reader(verdicts=verdicts({"a": 0.75, "initial": 0.5}).query("arm == 'a' or seed == 0"))
    assert accuracy("a", "initial", "high").of(tables).n_seeds == 3


def test_one_seed_has_an_interval_over_scenes_and_decides_nothing():
    found = accuracy("a", "b", "high").of(reader(verdicts=verdicts({"a": 0.75, "b": 0.5}, seeds=(1,))))
    assert found.low > 0 and judge(found, Above(0)) is Verdict.ONE_SEED


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
    last = loss("a", "b", "visual", (7, 8)).of(curves())  # of the seeds 5.5 times 3 and 4
    assert (last.least, last.value, last.greatest) == (16.5, 19.25, 22.0)
    assert (last.low, last.high) == pytest.approx((19.25 - 5.5, 19.25 + 5.5))  # twice 2.75
    assert loss("a", "b", "visual", (7,), 1).of(curves()).value == 2.5
    assert loss("a", "initial", "visual", (7,)).of(curves()).value == 4.0


@pytest.mark.parametrize("of", [("a", "c", "visual", (7,)), ("a", "b", "visual", (7,), 9), ("a", "b", "visual", (3,))])
def test_an_arm_a_step_or_a_bin_that_is_not_there_was_not_measured(of):
    with pytest.raises(NotMeasured):
        loss(*of).of(curves())


def test_arms_without_a_common_seed_were_not_measured():
    rows = verdicts({"a": 0.5, "b": 0.5}).query("(arm == 'a') == (seed == 0)")
    with pytest.raises(NotMeasured):
        accuracy("a", "b", "high").of(reader(verdicts=rows))
