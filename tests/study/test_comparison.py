"""What counts as a difference between arms: the rule, by hand, and the committed effects."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from records import read_record
from study.comparison import BINS, Contrast, compare_arms, contrast_arms

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
        ((60, 50, 55), "better"),
        ((-60, -50, -55), "worse"),
        ((30, 30, -30), "undecided"),
        ((1, 1, 1), "undecided"),  # all seeds are above 0; the prior SD says how little that means
        ((60,), "not judged"),
        ((1, 0, -1, 1, 0, -1, 0), "equivalent"),  # from 6 seeds on the arm's own SD counts
        ((60, 60, 60, -2, 60, 60, 60), "better"),  # one seed of another sign decides nothing
    ],
)
def test_the_rule_of_accuracy(gains, counts):
    found = compare_arms(curves([1.0] * len(gains)), scenes(gains))
    [row] = found.query("arm == 'vgs' and quantity == 'correct'").to_dict("records")
    assert row["counts_as"] == counts and row["n_seeds"] == len(gains)
    assert row["difference"] == pytest.approx(np.mean(gains) / 400)
    assert (row["least"], row["greatest"]) == pytest.approx((min(gains) / 400, max(gains) / 400))
    assert (row["kind"], row["margin"]) == ("exploratory", 0.02) and math.isnan(row["p_holm"])


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ((0.8, 0.7, 0.75), "lower"),
        ((1.2, 1.3, 1.25), "higher"),
        ((0.2, 0.3, 1.01), "undecided"),
        ((0.99, 0.2, 0.9), "undecided"),  # all seeds are lower, and differ too much
        ((1.001, 1.002, 0.999), "equivalent"),
        ((0.5,), "not judged"),
    ],
)
def test_the_rule_of_losses(values, counts):
    found = compare_arms(curves(values), scenes([0] * len(values)))
    rows = found.query("arm == 'vgs' and quantity == 'visual'")
    assert list(rows["where"]) == ["all", "bins 7-9"] and set(rows["counts_as"]) == {counts}
    assert rows["difference"].tolist() == pytest.approx([np.mean(values) - 1.0] * 2)
    same = "equivalent" if len(values) > 1 else "not judged"
    assert set(found.query("quantity == 'language'")["counts_as"]) == {same}


@pytest.mark.parametrize("name", ["study", "study_blind", "study_eta", "study_cost", "study_small_rate"])
def test_committed_effects_come_out_again(name):
    tables = read_record(GALLERY / name, "curves", "verdicts", "effects").tables
    found = compare_arms(tables["curves"], tables["verdicts"], primary=False)
    pd.testing.assert_frame_equal(found, tables["effects"], check_dtype=False, rtol=1e-9)


def test_primary_contrasts_are_marked_and_adjusted():
    gains = (60, 50, 55)
    found = compare_arms(curves([1.0] * 3), scenes(gains), primary=True)
    [row] = found.query("kind == 'primary'").to_dict("records")
    assert (row["arm"], row["against"], row["quantity"], row["where"]) == ("vgs", "standard", "correct", "high")
    assert row["p_holm"] == pytest.approx(3 * row["p"]) and row["published"] == pytest.approx(0.0236)
    plain = compare_arms(curves([1.0] * 3), scenes(gains)).query("quantity == 'correct'").iloc[0]
    assert row["p"] == plain["p"] and row["detectable"] > plain["detectable"] and row["power"] < plain["power"]
    assert row["seeds_needed"] > plain["seeds_needed"]


def test_the_prior_is_for_scenes_that_need_the_picture():
    answers = pd.concat([scenes((30, 20, 25)), scenes((30, 20, 25)).assign(group="low")])
    found = compare_arms(curves([1.0] * 3), answers).query("quantity == 'correct'").set_index("where")
    sd = np.std([30, 20, 25], ddof=1) / 400
    assert found.loc["low", "sd"] == pytest.approx(sd)
    assert found.loc["high", "sd"] == pytest.approx(((4 * 0.046**2 + 2 * sd**2) / 6) ** 0.5)
    assert found.loc["low", "sd_against"] == 0


def test_groups_are_those_of_the_answers():
    answers = scenes([30, 20, 25]).assign(group="unknown")
    found = compare_arms(curves([1.0] * 3), answers).query("quantity == 'correct'")
    assert list(found["where"]) == ["unknown"] and list(found["counts_as"]) == ["better"]


def test_bins_are_named_by_their_numbers():
    assert {where: list(bins) for where, bins in BINS.items()} == {"all": [-1], "bins 7-9": [7, 8, 9]}


def runs(**arms):
    """One number for each run: ten times the seed, plus 1 for the arm `b`."""
    index = pd.MultiIndex.from_tuples(
        [(arm, seed) for arm, seeds in arms.items() for seed in seeds], names=["arm", "seed"]
    )
    return pd.Series([10.0 * seed + (arm == "b") for arm, seed in index], index)


def test_all_seeds_of_both_arms_count():
    found = contrast_arms(runs(a=(2, 0, 1), b=(1, 3)), Contrast("a", "b", "visual", "all"))
    assert (found.ours.mean, found.ours.n, found.theirs.mean, found.theirs.n) == (10, 3, 21, 2)
    assert found.difference.value == -11 and (found.least, found.greatest) == (-21, -1)


def test_the_untrained_student_is_a_constant():
    found = contrast_arms(runs(a=(0, 1, 2), initial=(5,)), Contrast("a", "initial", "visual", "all"))
    assert (found.theirs.mean, found.theirs.variance, found.judged) == (50, 0, True)
    assert found.difference.df == 2


@pytest.mark.parametrize("arms", [{"a": (0,)}, {"b": (0,)}])
def test_an_absent_arm_is_no_contrast(arms):
    assert contrast_arms(runs(**arms), Contrast("a", "b", "visual", "all")) is None
