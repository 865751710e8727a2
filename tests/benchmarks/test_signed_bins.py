"""The error of signed-bins: 0 where no sign matters, right on matrices made by hand, and in the table as measured."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geometry import BASIS
from tests.benchmarks import signed_bin_errors, signed_bin_responses, signed_bins
from tests.benchmarks.signed_bin_errors import UnitGrams, draws, errors
from tests.benchmarks.signed_bin_responses import long_responses, pictured_prompts, random_long

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "figures" / "gallery" / "benchmarks" / "signed_bins.csv"


def plane(*angles_deg):
    """Gram matrices of units of length 1, language at an angle to visual, without prior and shift."""
    language, visual = BASIS.index("language"), BASIS.index("visual")
    grams = np.zeros((len(angles_deg), 4, 4))
    grams[:, language, language] = grams[:, visual, visual] = 1.0
    grams[:, language, visual] = grams[:, visual, language] = np.cos(np.radians(angles_deg))
    return grams


def unit_grams(bins, *angles_deg):
    n = range(len(bins))
    rows = pd.DataFrame({"rollout_id": 0, "position": n, "bin": bins, "prompt_id": [f"p{i}" for i in n]})
    return UnitGrams(rows, plane(*angles_deg), 1.0)


def row(kind="bundled", responses=8, seed=0, **values):
    about = {"kind": kind, "responses": responses, "set": 0, "tokens": 20, "token_seconds": 3.0, "seed": seed}
    about |= {"units": 10, "signed_seconds": 1.5}
    columns = [f"{q}_{part}_deg" for q in ("detached", "attached") for part in ("mean", "greatest", "shift")]
    about |= dict.fromkeys([*columns, "detached_half_width_deg", "attached_half_width_deg"], 2.0)
    return about | values


@pytest.fixture(scope="module")
def analyzer():
    return random_long(3, length=12)


def test_long_responses_have_their_length_and_no_end(pair):
    prompts = pictured_prompts(4)
    assert all(prompt.has_image for prompt in prompts)
    responses = long_responses(pair, prompts, 30)
    assert [len(response.token_ids) for response in responses] == [30] * 4
    assert not {*pair.student.end_ids} & {token for response in responses for token in response.token_ids}


def test_the_error_is_zero_where_no_response_has_two_tokens_in_a_bin(analyzer):
    """With as many bins as tokens every signed-bin is one token."""
    alone = list(draws(analyzer, [3], 1, n_bins=36))
    assert len(alone) == 1 and alone[0]["tokens"] == alone[0]["units"] == 36
    assert max(alone[0][f"{q}_greatest_deg"] for q in ("detached", "attached")) < 1e-3
    pooled = list(draws(analyzer, [3], 2, n_bins=2))
    assert [drawn["units"] for drawn in pooled] == [6, 6]
    assert pooled[0]["detached_mean_deg"] != pooled[1]["detached_mean_deg"] > 1e-3


def test_sets_have_no_response_in_common(analyzer, monkeypatch):
    seen, measured = [], signed_bin_errors.measured

    def watched(analyzer, tokens, kind, seed):
        seen.append((kind, sorted(tokens["rollout_id"].unique())))
        return measured(analyzer, tokens, kind, seed)

    monkeypatch.setattr(signed_bin_errors, "measured", watched)
    made = [(drawn["responses"], drawn["set"]) for drawn in draws(analyzer, [1, 3], 1, n_bins=2)]
    assert made == [(1, 0), (1, 1), (1, 2), (3, 0)]
    assert seen == [("token", [0, 1, 2]), *(("signed-bin", numbers) for numbers in ([0], [1], [2], [0, 1, 2]))]


def test_errors_are_those_of_the_summed_matrices():
    """The sum of units at 0 and 90 degrees has a cosine of one half; a bin with one unit has that unit's angle."""
    exact = unit_grams([0, 0, 1], 0, 90, 40)
    assert exact.pooled_deg()["detached"] == pytest.approx([60, 40])
    compared = errors(exact, unit_grams([0, 1], 70, 36))
    assert compared["detached_mean_deg"] == pytest.approx((10 + 4) / 2)
    assert compared["detached_greatest_deg"] == pytest.approx(10)
    assert compared["detached_shift_deg"] == pytest.approx((10 - 4) / 2)


def test_units_are_read_by_their_place_and_take_other_bins():
    every = unit_grams([0, 0, 0], 10, 20, 30)
    some = every.of(pd.DataFrame({"rollout_id": 0, "position": [2, 0], "bin": [0, 1], "prompt_id": ["p2", "p0"]}))
    assert some.pooled_deg()["detached"] == pytest.approx([30, 10])


def test_the_interval_over_prompts_is_zero_where_prompts_agree():
    assert unit_grams([0, 0, 0], 50, 50, 50).half_widths_deg()["detached"] == pytest.approx(0, abs=1e-5)
    assert unit_grams([0, 0, 0], 10, 50, 90).half_widths_deg()["detached"] > 5


def test_the_table_has_means_and_the_middle_of_the_draws():
    rows = [row(seed=seed, detached_mean_deg=float(seed)) for seed in range(11)]
    *_, line = signed_bins.markdown(pd.DataFrame(rows)).splitlines()
    assert line.startswith("| `bundled` | 8 | 20 | 10 | 2.0x | 5.00 (1.00 to 9.00) | 2.00 (2.00 to 2.00) | 2.0 |")


def test_thresholds_are_from_where_on_an_error_stays_below():
    """An error that rises above one degree again does not count as below before that."""
    sizes = {8: 0.5, 16: 1.5, 32: 0.9, 64: 0.4}
    rows = [row(responses=size, detached_mean_deg=error, attached_mean_deg=0.1) for size, error in sizes.items()]
    *_, detached, attached = signed_bins.thresholds(pd.DataFrame(rows)).splitlines()
    assert detached == "| `bundled` | detached | from 32 responses on | not by 64 responses |"
    assert attached == "| `bundled` | attached | from 8 responses on | not by 64 responses |"


def test_the_command_measures_draws_and_keeps_other_kinds(tmp_path, monkeypatch, capsys):
    short = {"random-256": partial(random_long, length=12)}
    monkeypatch.setattr(signed_bin_responses, "RESPONSES", short)
    path = tmp_path / "signed_bins.csv"
    pd.DataFrame([row(kind="bundled")]).to_csv(path, index=False)
    argv = ["--kinds", "random-256", "--sizes", "2", "--seeds", "2", "--out", str(tmp_path)]
    assert signed_bins.main(argv) == 0
    frame = pd.read_csv(path)
    assert frame["kind"].tolist() == ["bundled", "random-256", "random-256"]
    assert frame["tokens"].tolist()[1:] == [24, 24] and frame["seed"].tolist()[1:] == [0, 1]
    assert (tmp_path / "signed_bins.png").stat().st_size > 5000
    shown = capsys.readouterr().out
    assert "| `random-256` | 2 | 24 |" in shown and "| `random-256` | attached | " in shown
    assert signed_bins.main(["--draw", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--kinds", "bundled", "longer"], "`kinds` must be some of bundled, bundled-256, random-256, got longer"),
        (["--kinds", "bundled-256", "--sizes", "64"], "`sizes` must have one of at most 16 for bundled-256, got 64"),
        (["--draw", "--out", "nowhere"], "`draw` reads nowhere/signed_bins.csv, which is not there"),
    ],
)
def test_what_cannot_be_measured_is_one_line(argv, message, capsys):
    assert signed_bins.main(argv) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


# --- what is committed ---


def test_the_page_has_the_table_of_the_committed_draws():
    frame = pd.read_csv(COMMITTED)
    assert set(frame["kind"]) == set(signed_bins.KINDS) and set(frame["seed"]) == set(range(10))
    assert set(frame.loc[frame["kind"] == "bundled", "responses"]) >= {8, 16, 32, 64}
    page = (ROOT / "docs" / "units.md").read_text(encoding="utf-8")
    for table in (signed_bins.markdown(frame), signed_bins.thresholds(frame)):
        assert table in page, "run `python -m tests.benchmarks.signed_bins --draw`"
    assert "figures/gallery/benchmarks/signed_bins.png" in page and COMMITTED.with_suffix(".png").is_file()


def test_the_page_says_what_a_signed_bin_is():
    page = " ".join((ROOT / "docs" / "units.md").read_text(encoding="utf-8").split())
    assert "the **pooled angle**, not the mean angle over tokens" in page
    assert math.prod(word in page for word in ("`token`", "`trajectory-bin`", "`corpus-bin`", "`signed-bin`"))
