"""What counts as a difference between arms: the rule, by hand, and the committed effects."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from records import read_record
from study.comparison import BINS, compare_arms, pair_runs

GALLERY = Path(__file__).resolve().parents[2] / "figures" / "gallery"


def scenes(gains, n=400):
    """Verdicts of two arms on `n` scenes, half of which `standard` knows; `gains` more are known with each seed."""
    rows = []
    for seed, gain in enumerate(gains):
        for arm, right in (("standard", n // 2), ("vgs", n // 2 + gain)):
            rows += [
                {"arm": arm, "seed": seed, "group": "high", "prompt_id": str(k), "correct": k < right} for k in range(n)
            ]
    return pd.DataFrame(rows)


def curves(values):
    """The visual loss of two arms after step 1, in nats; `standard` has 1.0 with every seed."""
    rows = [
        {"arm": arm, "seed": seed, "step": 1, "rollouts": "fixed", "bin": number, "visual_nats": nats}
        for seed, value in enumerate(values)
        for arm, nats in (("standard", 1.0), ("vgs", value))
        for number in (-1, 7, 8, 9)
    ]
    return pd.DataFrame(rows).assign(standard_nats=1.0, language_nats=1.0)


@pytest.mark.parametrize(
    ("gains", "counts"),
    [
        ((30, 20, 25), "better"),
        ((-30, -20, -25), "worse"),
        ((60, 60, -2), "no difference"),  # the interval is above 0, one seed is not
        ((1, 1, 1), "no difference"),  # all seeds are, the interval is not
        ((30,), "not judged"),
    ],
)
def test_the_rule_of_accuracy(gains, counts):
    found = compare_arms(curves([1.0] * len(gains)), scenes(gains))
    [row] = found.query("arm == 'vgs' and quantity == 'correct'").to_dict("records")
    assert row["counts_as"] == counts and row["n_seeds"] == len(gains)
    assert row["difference"] == pytest.approx(np.mean(gains) / 400)
    assert (row["least"], row["greatest"]) == (min(gains) / 400, max(gains) / 400)


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ((0.8, 0.7, 0.75), "lower"),
        ((1.2, 1.3, 1.25), "higher"),
        ((0.2, 0.3, 1.01), "no difference"),
        ((0.99, 0.2, 0.9), "no difference"),  # less than twice its standard error
        ((0.5,), "not judged"),
    ],
)
def test_the_rule_of_losses(values, counts):
    found = compare_arms(curves(values), scenes([0] * len(values)))
    rows = found.query("arm == 'vgs' and quantity == 'visual'")
    assert list(rows["where"]) == ["all", "bins 7-9"] and set(rows["counts_as"]) == {counts}
    assert rows["difference"].tolist() == pytest.approx([np.mean(values) - 1.0] * 2)
    same = "no difference" if len(values) > 1 else "not judged"
    assert set(found.query("quantity == 'language'")["counts_as"]) == {same}


@pytest.mark.parametrize("name", ["study_blind", "study_eta", "study_cost", "study_small_rate"])
def test_committed_effects_come_out_again(name):
    tables = read_record(GALLERY / name, "curves", "verdicts", "effects").tables
    found = compare_arms(tables["curves"], tables["verdicts"])
    pd.testing.assert_frame_equal(found, tables["effects"], check_dtype=False, rtol=1e-12)


def test_groups_are_those_of_the_answers():
    answers = scenes([30, 20, 25]).assign(group="unknown")
    found = compare_arms(curves([1.0] * 3), answers).query("quantity == 'correct'")
    assert list(found["where"]) == ["unknown"] and list(found["counts_as"]) == ["better"]


def test_bins_are_named_by_their_numbers():
    assert {where: list(bins) for where, bins in BINS.items()} == {"all": [-1], "bins 7-9": [7, 8, 9]}


def wide(**arms):
    """One row; the value of a column is ten times the seed, plus 1 for the arm `b`."""
    columns = [(arm, seed) for arm, seeds in arms.items() for seed in seeds]
    return pd.DataFrame(
        [[10 * seed + (arm == "b") for arm, seed in columns]], columns=pd.MultiIndex.from_tuples(columns)
    )


def test_arms_are_paired_by_common_seeds_in_order():
    found = pair_runs(wide(a=(2, 0, 1), b=(1, 2, 3)), "a", "b")
    assert found.ours.tolist() == [[10, 20]] and found.theirs.tolist() == [[11, 21]]
    assert found.differences.tolist() == [[-1, -1]]


def test_the_untrained_student_is_paired_with_every_seed():
    found = pair_runs(wide(a=(0, 1, 2), initial=(5,)), "a", "initial")
    assert found.theirs.tolist() == [[50, 50, 50]] and found.ours.tolist() == [[0, 10, 20]]


@pytest.mark.parametrize("arms", [{"a": (0,), "b": (1,)}, {"a": (0,)}, {"b": (0,)}])
def test_arms_without_a_common_seed_are_no_pair(arms):
    assert pair_runs(wide(**arms), "a", "b") is None


def test_an_absent_untrained_student_is_no_pair():
    assert pair_runs(wide(a=(0,)), "a", "initial") is None
