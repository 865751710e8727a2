"""Numbers from measured angles, against slow twins, values by hand and the committed record."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from records import read_record
from study.claims.angle_statistics import (
    between_angles,
    between_bins,
    difference_of_means,
    from_null,
    mean_angle,
    ratio_of_norms,
)
from study.claims.claim import NotMeasured
from tests.study.claims.made import reader

GALLERY = Path(__file__).resolve().parents[3] / "figures" / "gallery"
ANGLE = "angle_language_visual"


@pytest.fixture(scope="module")
def tables():
    """The reader of the committed record of angles."""
    return reader(**read_record(GALLERY / "angles", "units", "bins").tables)


def offset_by_prompt(n_prompts=30, each=6):
    """Two groups in every prompt, 10 apart, and an offset of the prompt that both share."""
    draw = np.random.default_rng(0)
    prompts = np.repeat(np.arange(n_prompts), 2 * each)
    first = np.tile(np.repeat([True, False], each), n_prompts)
    values = 40 + 20 * draw.normal(size=n_prompts)[prompts] + 10 * first + draw.normal(size=len(prompts))
    kept = draw.random(len(prompts)) < 0.7  # prompts do not count alike
    return values[kept], prompts.astype(str)[kept], first[kept]


def test_a_difference_of_bins_is_resampled_as_a_loop_does_it():
    values, prompts, first = offset_by_prompt()
    names = np.unique(prompts)

    def slow(drawn):
        rows = np.concatenate([np.flatnonzero(prompts == names[int(prompt)]) for prompt in drawn])
        return values[rows][first[rows]].mean() - values[rows][~first[rows]].mean()

    numbers = (np.arange(len(names)),)
    rng = np.random.default_rng(0)
    twin = bootstrap(numbers, slow, vectorized=False, n_resamples=2000, batch=256, method="percentile", rng=rng)
    found = difference_of_means(values, prompts, first)
    assert found.estimate == pytest.approx(slow(range(len(names))))
    assert (found.low, found.high) == pytest.approx(tuple(twin.confidence_interval))


def test_what_the_prompts_share_does_not_widen_a_difference():
    values, prompts, first = offset_by_prompt()
    found = difference_of_means(values, prompts, first)
    assert found.estimate == pytest.approx(10, abs=2.5)
    assert found.high - found.low < 8  # apart, each mean is known to 15 at best


def test_the_mean_of_a_bin_is_that_of_the_table_bins(tables):
    row = tables("bins").query("scope == 'all' and bin == 8").iloc[0]
    found = mean_angle(ANGLE, (8,)).estimate(tables)
    ends = [row[f"{ANGLE}_{name}_deg"] for name in ("mean", "low", "high")]
    assert [found.value, found.low, found.high] == pytest.approx(ends)
    assert found.evidence is None and found.sample.startswith("64 units of ")


def test_a_null_adds_its_own_uncertainty(tables):
    row = tables("bins").query("scope == 'all' and bin == 9").iloc[0]
    alone, found = mean_angle(ANGLE, (9,)).estimate(tables), from_null(ANGLE, 9).estimate(tables)
    assert found.value == pytest.approx(alone.value - row[f"{ANGLE}_null_mean_deg"])
    error = 1.959964 * row[f"{ANGLE}_null_std_deg"] / 8
    assert (found.high - found.value) ** 2 == pytest.approx((alone.high - alone.value) ** 2 + error**2)
    assert (found.value - found.low) ** 2 == pytest.approx((alone.value - alone.low) ** 2 + error**2)


def test_the_rise_of_the_readme(tables):
    bins = tables("bins").query("scope == 'all'").set_index("bin")["angle_language_visual_attached_mean_deg"]
    found = between_bins("angle_language_visual_attached", (7, 8, 9), (0, 1, 2)).estimate(tables)
    assert found.value == pytest.approx(bins[[7, 8, 9]].mean() - bins[[0, 1, 2]].mean())
    assert 20 < found.low < found.value < found.high < 40


def units(**columns):
    """Units of bin 0 over all parameters, two a prompt; another scope that must not count."""
    n = len(next(iter(columns.values())))
    rows = pd.DataFrame({"bin": 0, "prompt_id": [str(k // 2) for k in range(n)], **columns})
    return reader(
        units=pd.concat([rows.assign(scope="all"), rows.assign(scope="language_model", **{"norm_visual": 99})])
    )


def test_two_angles_of_one_unit():
    tables = units(a_deg=[50.0, 60, 70, np.nan], b_deg=[40.0, 40, 40, 40])
    found = between_angles("a", "b", (0,)).estimate(tables)
    assert found.value == pytest.approx(20)
    assert (found.low, found.high) == pytest.approx((15, 30))


def test_norms_count_as_in_a_sum():
    found = ratio_of_norms("visual", "standard").estimate(
        units(norm_visual=[3.0, 4, 3, 4], norm_standard=[5.0, 5, 5, 5])
    )
    assert [found.value, found.low, found.high] == pytest.approx([np.sqrt(0.5)] * 3)


def test_a_bin_that_is_not_there_was_not_measured():
    with pytest.raises(NotMeasured):
        mean_angle("a", (0, 9)).estimate(units(a_deg=[50.0, 60]))
