"""The trial as the decision reads it: what passes, in which order settings are tried, and what is written of them."""

from dataclasses import replace
from math import nan

import pandas as pd
import pytest

from probes import Analyzer
from probes.diagnosis import findings, text
from probes.diagnosis.recommendation import candidates
from probes.diagnosis.trial import PASSES, Tried, setting_name, signed, surely_rises, trial_of, trial_table, tried_of
from probes.stages.first_order import halves
from probes.stages.real_steps import Ground, Pace
from records import TABLES, Shards
from records.shards import ShardFolder
from records.tables.diagnosis import TRIED
from stats import Interval
from tests.probes.diagnosis.cases import ORDER, SEES

BETTER, WORSE, UNSURE = Interval(-0.3, -0.1, -0.2), Interval(0.1, 0.3, 0.2), Interval(-0.1, 0.3, 0.1)
PACE = Pace(2, 1e-3)


class Killed(BaseException):
    """Stands for the kill signal."""


@pytest.mark.parametrize(
    ("language", "visual", "verdict"),
    [
        (BETTER, BETTER, PASSES),
        (UNSURE, UNSURE, PASSES),
        (Interval(0.0, 0.0, 0.0), BETTER, PASSES),
        (WORSE, BETTER, "language above standard"),
        (BETTER, WORSE, "visual above standard"),
        (WORSE, WORSE, "language and visual above standard"),
    ],
)
def test_what_passes(language, visual, verdict):
    assert Tried(3.0, 0.01, language, visual).verdict == verdict


def test_what_is_not_known_is_not_sure():
    assert not surely_rises(Interval(nan, nan, 0.1)) and not surely_rises(Interval(nan, nan, nan))


def test_words():
    assert signed(Interval(-0.001, 0.02, 0.0123)) == "+0.012 (-0.001 to 0.02)"
    assert setting_name(0.0, 0.0) == "standard" and setting_name(3.25, 0.01) == "gamma 3.25, lambda 0.01"


@pytest.fixture
def tokens():
    """Eight prompts of ten tokens, one in each bin; the last two have no picture."""
    rows = [(f"p{n}", n, place) for n in range(8) for place in range(10)]
    frame = pd.DataFrame(rows, columns=["prompt_id", "rollout_id", "position"])
    frame["has_image"] = frame["rollout_id"] < 6
    return frame.assign(bin=frame["position"].where(frame["has_image"], -1), vds_nats=frame["position"] / 10)


@pytest.fixture
def trying(tokens, monkeypatch, tmp_path):
    """Try settings with made-up changes, of language by (gamma, lambda); returns the table and the steps taken."""

    def run(language, evidence=SEES, stop_at=None, folder=tmp_path):
        taken = []
        folder.mkdir(exist_ok=True)
        shards = Shards(ShardFolder(folder / "shards"))
        analyzer = Analyzer(bins=10).having(tokens=tokens, shards=shards)

        def changes(ground, setting):
            taken.append((setting.gamma, setting.lambda_))
            if stop_at == taken[-1]:
                raise Killed
            n = sum(len(shares) for shares in ground.halves[1].shares.values())
            values = {"standard": 0.0, "visual": -setting.gamma, "language": language.get(taken[-1], 0.5)}
            return pd.DataFrame({loss: [values[loss]] * n for loss in TRIED})

        monkeypatch.setattr(Ground, "changes", changes)
        return trial_table(Ground(analyzer, halves(tokens, seed=0), PACE), candidates(evidence)), taken

    return run


@pytest.mark.parametrize(
    ("passing", "n_tried"), [((2.0, 0.01), 1), ((2.0, 0.1), 2), ((2.0, 1.0), 3), ((1.0, 0.01), 4), ((1.0, 0.1), 5)]
)
def test_it_stops_at_the_first_that_passes(trying, passing, n_tried):
    table, taken = trying({(0.0, 0.0): 0.0, passing: 0.0})
    assert taken == [(0.0, 0.0), *ORDER[:n_tried]]
    TABLES["trial"].check(table)
    trial = trial_of(table)
    assert [(one.gamma, one.lambda_) for one in trial.tried] == ORDER[:n_tried]
    assert (trial.passed.gamma, trial.passed.lambda_) == passing and (trial.steps, trial.lr) == (2, 1e-3)


def test_where_none_passes_all_are_tried(trying):
    table, taken = trying({(0.0, 0.0): 0.0})
    assert len(taken) == 7 and trial_of(table).passed is None
    steered = table[table["gamma"] > 0]
    assert steered["verdict"].eq("language above standard").all() and table["verdict"].iloc[0] == ""


def test_without_steering_standard_alone_is_tried(trying):
    table, taken = trying({}, replace(SEES, content_nats=0.0))
    assert taken == [(0.0, 0.0)] and trial_of(table).tried == [] and trial_of(table).passed is None


def test_it_goes_on_where_it_was_killed(trying, tmp_path):
    language = {(0.0, 0.0): 0.0, (2.0, 1.0): 0.0}
    with pytest.raises(Killed):
        trying(language, stop_at=(2.0, 0.1))
    again, taken = trying(language)
    assert taken == [(2.0, 0.1), (2.0, 1.0)]
    whole, _ = trying(language, folder=tmp_path / "whole")
    pd.testing.assert_frame_equal(again, whole)
    finished, taken = trying(language)
    assert taken == [] and finished.equals(whole)


def test_what_is_said(trying):
    table, _ = trying({(0.0, 0.0): 0.25, (2.0, 0.1): 0.25})
    rows = pd.DataFrame(findings._trial(table))
    assert rows["question"].unique().tolist() == ["what 2 real steps at rate 0.001 do"] and len(rows) == 6
    by_measure = rows.set_index("measure")
    standard = by_measure.loc["language loss of the upper bins, standard"]
    assert standard["value"] == 0.25 and standard["verdict"] == "rises" and "try a smaller rate" in standard["reason"]
    failed = by_measure.loc["language loss of the upper bins, gamma 2, lambda 0.01"]
    assert failed["verdict"] == "language above standard" and failed["reason"] == "beside standard +0.25 (0.25 to 0.25)"
    lines = text.trial_table(table).splitlines()
    assert lines[-3].split()[0] == "standard" and lines[-2].endswith("language above standard")
    assert lines[-1].split()[:4] == ["gamma", "2,", "lambda", "0.1"] and lines[-1].endswith(" passes")


def test_standard_that_does_not_rise_is_no_reason_for_a_smaller_rate(trying):
    table, _ = trying({(0.0, 0.0): 0.0})
    assert not pd.DataFrame(findings._trial(table))["reason"].str.contains("smaller rate").any()


def test_one_setting_is_read_from_its_rows(trying):
    table, _ = trying({(0.0, 0.0): 0.0})
    rows = table[(table["gamma"] == 2.0) & (table["lambda"] == 0.1)]
    one = tried_of(rows)
    assert (one.gamma, one.lambda_) == (2.0, 0.1)
    assert (one.language.estimate, one.visual.estimate) == (pytest.approx(0.5), pytest.approx(-2.0))
