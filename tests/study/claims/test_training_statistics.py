"""Differences between arms: those of the committed `effects.csv`, and by hand.

Changes of gradients, lengths and times by hand."""

import math
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import ttest_ind

from records import read_record
from records.journal_lines import PHASES
from study.claims.claim import Above, NotMeasured
from study.claims.judging import ClaimVerdict, judge
from study.claims.training_statistics import (
    ALL_TOKENS,
    accuracy,
    clipped,
    cosine,
    drift,
    eta,
    growth,
    loss,
    mean_loss,
    norm_ratio,
    primary_accuracy,
    sd_ratio,
    step_time,
)
from study.comparison import UPPER_BINS, compare_arms
from study.rules import PRIMARY_SEEDS
from tests.study.claims.made import by_seed, reader, verdicts

STUDY = Path(__file__).resolve().parents[3] / "figures" / "gallery" / "study"


@pytest.fixture(scope="module")
def study():
    """The committed study."""
    return read_record(STUDY, "curves", "verdicts", "effects").tables


def same(found, row, factor=1.0):
    """The numbers of a row of the effects, in other units."""
    theirs = [factor * row[name] for name in ("difference", "low", "high", "least", "greatest")]
    evidence = found.evidence
    ours = [found.value, found.low, found.high, evidence.least, evidence.greatest]
    assert ours == pytest.approx(theirs, nan_ok=True), f"{row['arm']} against {row['against']}"
    assert (evidence.ours.n, evidence.theirs.n) == (row["n_seeds"], row["n_against"])


def test_accuracies_are_those_of_the_effects(study):
    rows = study["effects"].query("quantity == 'correct' and kind == 'exploratory'").to_dict("records")
    assert len(rows) > 30
    for row in rows[::2]:
        same(accuracy(row["arm"], row["against"], row["where"]).estimate(reader(**study)), row, 100.0)


def test_primary_contrasts_are_those_of_the_effects(study):
    shares = {"standard": 0.7, "vgs": 0.6, "vgs-frozen": 0.75}
    of_seed = [verdicts({a: b + 0.01 * (seed % 3) for a, b in shares.items()}, (seed,)) for seed in PRIMARY_SEEDS]
    tables = {"verdicts": pd.concat(of_seed, ignore_index=True)}
    effects = compare_arms(study["curves"], tables["verdicts"], primary=True)
    rows = effects.query("kind == 'primary'").to_dict("records")
    assert len(rows) == 2
    for row in rows:
        found = primary_accuracy(row["arm"], row["against"]).estimate(reader(**tables))
        same(found, row, 100.0)
        assert (found.evidence.p, found.detectable) == pytest.approx((row["p_holm"], 100 * row["detectable"]))


def test_losses_are_those_of_the_effects(study):
    rows = study["effects"].query("quantity != 'correct'").to_dict("records")
    assert len(rows) > 30
    for row in rows[::3]:
        bins = {"all": ALL_TOKENS, "bins 7-9": UPPER_BINS}[row["where"]]
        same(loss(row["arm"], row["against"], row["quantity"], bins).estimate(reader(**study)), row)


def test_answers_by_hand():
    found = accuracy("a", "b", "low").estimate(reader(verdicts=verdicts({"a": 0.75, "b": 0.5})))
    assert (found.value, found.low, found.high) == (25.0, 25.0, 25.0)  # all seeds alike, and no prior
    assert (found.evidence.least, found.evidence.greatest, found.evidence.ours.n) == (25.0, 25.0, 3)
    assert judge(found, Above(0)) is ClaimVerdict.REPRODUCED


def test_the_interval_is_over_seeds_and_not_over_scenes():
    frames = [verdicts({"a": share, "b": 0.5}, (seed,)) for seed, share in enumerate((0.6, 0.7, 0.8))]
    found = accuracy("a", "b", "low").estimate(reader(verdicts=pd.concat(frames)))  # 10, 20 and 30 points
    half = 4.30265 * 10 / 3**0.5  # Student's t of three
    assert (found.low, found.high) == pytest.approx((20 - half, 20 + half), abs=1e-3)
    assert found.detectable > found.high - found.value  # found with a chance of 80 %, not of a half


def test_seeds_can_be_chosen():
    rows = pd.concat([verdicts({"a": 0.6, "b": 0.5}, (0, 1)), verdicts({"a": 0.8, "b": 0.5}, (4, 5))])
    found = [accuracy("a", "b", "low", seeds).estimate(reader(verdicts=rows)).value for seeds in (range(4), None)]
    assert found == pytest.approx([10, 20])
    with pytest.raises(NotMeasured):
        accuracy("a", "b", "low", range(6, 8)).estimate(reader(verdicts=rows))


def test_the_untrained_student_is_a_constant():
    tables = reader(verdicts=verdicts({"a": 0.75, "initial": 0.5}).query("arm == 'a' or seed == 0"))
    found = accuracy("a", "initial", "high").estimate(tables).evidence
    assert (found.ours.n, found.theirs.variance) == (3, 0)


def test_one_seed_has_no_interval_and_decides_nothing():
    found = accuracy("a", "b", "high").estimate(reader(verdicts=verdicts({"a": 0.75, "b": 0.5}, seeds=(1,))))
    assert math.isnan(found.low) and judge(found, Above(0)) is ClaimVerdict.ONE_SEED
    assert math.isnan(found.detectable)


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
    last = loss("a", "b", "visual", (7, 8)).estimate(curves())  # 5.5 times 6 and 8, 5.5 times 3 and 4
    assert (last.evidence.least, last.value, last.evidence.greatest) == (13.75, 19.25, 24.75)
    ours, theirs = [33.0, 44.0], [16.5, 22.0]
    twin = ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    assert (last.low, last.high) == pytest.approx(tuple(twin))
    assert loss("a", "b", "visual", (7,), 1).estimate(curves()).value == 2.5
    assert loss("a", "initial", "visual", (7,)).estimate(curves()).value == 4.0


def test_a_mean_over_steps_is_of_training_and_of_all_tokens():
    rows = [[{"visual_nats": float(10 * seed + step)} for step in range(5)] for seed in range(2)]
    other = by_seed(rows, ("b",), rollouts="training", bin=-1)
    ours = by_seed(rows, ("a",), rollouts="training", bin=-1).assign(visual_nats=lambda found: found["visual_nats"] * 2)
    strangers = [ours.assign(rollouts="fixed", visual_nats=99.0), ours.assign(bin=7, visual_nats=99.0)]
    tables = reader(curves=pd.concat([ours, other, *strangers]))
    assert mean_loss("a", "b", "visual", range(1, 4)).estimate(tables).value == pytest.approx(7.0)  # 14 minus 7
    assert mean_loss("a", "b", "visual", range(1, 4), range(1)).estimate(tables).value == pytest.approx(2.0)
    with pytest.raises(NotMeasured):
        mean_loss("a", "b", "visual", range(1, 4), range(4, 8)).estimate(tables)


def test_the_share_of_clipped_steps():
    rows = {"a": [[0.5, 1.5, 1.2, 3.0]] * 2, "b": [[0.5, 1.5, 0.2, 0.1]] * 2}
    steps = [by_seed([[{"gradient_norm": n} for n in seed] for seed in of], (arm,)) for arm, of in rows.items()]
    found = clipped("a", "b").estimate(reader(steps=pd.concat(steps)))
    assert found.value == 50.0 and found.sample == "75 and 25 % of steps"


def test_how_far_runs_differ():
    shares = {"a": (0.5, 0.7), "b": (0.6, 0.7)}
    frames = [verdicts({arm: share}, (seed,)) for arm, each in shares.items() for seed, share in enumerate(each)]
    found = sd_ratio(("a",), ("b",), "high").estimate(reader(verdicts=pd.concat(frames)))
    assert found.value == pytest.approx(2.0) and found.sample == "2 and 2 runs" and found.evidence is None


@pytest.mark.parametrize(
    "asked", [("a", "c", "visual", (7,)), ("a", "b", "visual", (7,), 9), ("a", "b", "visual", (3,))]
)
def test_an_arm_a_step_or_a_bin_that_is_not_there_was_not_measured(asked):
    with pytest.raises(NotMeasured):
        loss(*asked).estimate(curves())


def test_arms_need_no_common_seed():
    rows = verdicts({"a": 0.75, "b": 0.5}).query("(arm == 'a') == (seed == 0)")
    assert accuracy("a", "b", "low").estimate(reader(verdicts=rows)).value == 25


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
    assert (found.evidence.least, found.value, found.evidence.greatest, found.evidence.ours.n) == (2.0, 2.5, 3.0, 2)
    assert (found.low, found.high) == pytest.approx((2.5 - 0.5 * 12.7062, 2.5 + 0.5 * 12.7062))  # Student's t of two
    assert found.sample == "first and last 2 of 7 measured steps"


def test_a_cosine_is_subtracted():
    assert drift("a", cosine, relative=False).estimate(gradients()).value == pytest.approx(0.5)


def test_eta_is_that_of_equation_15():
    first, last = 2 / 8**0.5, (2 / (4 + 16 + 8) ** 0.5, 2 / (4 + 36 + 12) ** 0.5)
    found = drift("a", eta).estimate(gradients())
    assert (found.evidence.least, found.evidence.greatest) == pytest.approx((last[1] / first, last[0] / first))


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
    assert (found.evidence.least, found.value, found.evidence.greatest) == (1.25, 1.375, 1.5)


def test_a_slow_step_does_not_count():
    def steps(arm, scale):
        rows = [[{f"{phase}_seconds": scale * s for phase in PHASES} for s in (1.0, 1.0, 50.0)] for _ in range(2)]
        return by_seed(rows, (arm,))

    tables = reader(steps=pd.concat([steps("a", 1.5), steps("b", 1.0)]))
    assert step_time("a", "b").estimate(tables).value == pytest.approx(1.5)
    with pytest.raises(NotMeasured):
        step_time("a", "c").estimate(tables)
