"""The trial as the decision reads it: what passes, in which order settings are tried, and what is written of them."""

from dataclasses import replace

import pandas as pd
import pytest

from probes import Analyzer
from probes.diagnosis import findings, text
from probes.diagnosis.recommendation import candidates
from probes.diagnosis.trial import is_standard, setting_name, trial_of, trial_table, tried_of
from probes.stages.first_order import halves
from probes.stages.trial_steps import Ground, Pace
from records import TABLES, Shards
from records.shards import ShardFolder
from records.tables.diagnosis import TRIED
from tests.probes.diagnosis.cases import ORDER, SEES

PACE = Pace(2, 1e-3)
STANDARD = (0.0, 0.0, "detached")


class Killed(BaseException):
    """Stands for the kill signal."""


def test_words():
    assert setting_name(0.0, 0.0) == "standard" and setting_name(3.25, 0.01) == "gamma 3.25, lambda 0.01"
    assert setting_name(0.0, 1.0) == "gamma 0, lambda 1" and setting_name(2.0, 0.1, "frozen").endswith(", frozen")


@pytest.fixture
def tokens():
    """Eight prompts of ten tokens, one in each bin; the last two have no picture."""
    rows = [(f"p{n}", n, place) for n in range(8) for place in range(10)]
    frame = pd.DataFrame(rows, columns=["prompt_id", "rollout_id", "position"])
    frame["has_image"] = frame["rollout_id"] < 6
    return frame.assign(bin=frame["position"].where(frame["has_image"], -1), vds_nats=frame["position"] / 10)


@pytest.fixture
def trying(tokens, monkeypatch, tmp_path):
    """Try settings with made-up changes, of which one passes; return the table and the settings that took steps."""

    def run(passing=None, evidence=SEES, stop_at=None, folder=tmp_path, every=False):
        taken = []
        folder.mkdir(exist_ok=True)
        shards = Shards(ShardFolder(folder / "shards"))
        analyzer = Analyzer(bins=10).having(tokens=tokens, shards=shards)

        def changes(ground, setting):
            name = (setting.gamma, setting.lambda_, setting.prior)
            taken.append(name)
            if stop_at == name:
                raise Killed
            n = sum(len(shares) for shares in ground.halves[1].shares.values())
            values = {"standard": 1.0, "visual": 1.0, "language": 1.0}  # standard's: margins of 0.1
            if name != STANDARD:
                values["language"] = 1.5
                if name == passing:
                    values |= {"visual": -1.0, "language": 1.0} if setting.gamma else {"language": -1.0}
            return pd.DataFrame({loss: [values[loss]] * n for loss in TRIED})

        monkeypatch.setattr(Ground, "changes", changes)
        ground = Ground(analyzer, halves(tokens, seed=0), PACE)
        return trial_table(ground, candidates(evidence), every=every), taken

    return run


@pytest.mark.parametrize("n_tried", range(1, 11))
def test_it_stops_at_the_first_that_passes(trying, n_tried):
    passing = ORDER[n_tried - 1]
    table, taken = trying(passing)
    assert taken == [STANDARD, *ORDER[:n_tried]]
    TABLES["trial"].check(table)
    trial = trial_of(table)
    assert [(one.gamma, one.lambda_, one.prior) for one in trial.tried] == ORDER[:n_tried]
    assert (trial.passed.gamma, trial.passed.lambda_, trial.passed.prior) == passing
    assert (trial.steps, trial.lr) == (2, 1e-3)


def test_on_request_it_goes_on_after_one_has_passed(trying):
    table, taken = trying(ORDER[0], every=True)
    assert taken == [STANDARD, *ORDER]
    trial = trial_of(table)
    assert trial.passed is trial.tried[0] and not trial.undecided


def test_where_none_passes_all_are_tried(trying):
    table, taken = trying()
    assert len(taken) == 11 and trial_of(table).passed is None
    assert set(table.loc[~is_standard(table), "verdict"]) == {"language above standard"}
    assert set(table.loc[is_standard(table), "verdict"]) == {""}


def test_without_steering_standard_alone_is_tried(trying):
    table, taken = trying(evidence=replace(SEES, content_nats=0.0))
    assert taken == [STANDARD] and trial_of(table).tried == [] and trial_of(table).passed is None


def test_it_goes_on_where_it_was_killed(trying, tmp_path):
    with pytest.raises(Killed):
        trying(ORDER[3], stop_at=ORDER[1])
    again, taken = trying(ORDER[3])
    assert taken == ORDER[1:4]
    whole, _ = trying(ORDER[3], folder=tmp_path / "whole")
    pd.testing.assert_frame_equal(again, whole)
    finished, taken = trying(ORDER[3])
    assert taken == [] and finished.equals(whole)


def test_what_is_said(trying):
    table, _ = trying(ORDER[1])
    rows = pd.DataFrame(findings._trial(table))
    assert rows["question"].unique().tolist() == ["what 2 real steps at rate 0.001 do"] and len(rows) == 9
    by_measure = rows.set_index("measure")
    standard = by_measure.loc["language loss of the upper bins, standard"]
    assert standard["value"] == 1.0 and standard["verdict"] == "rises" and "try a smaller rate" in standard["reason"]
    failed = by_measure.loc["language loss of the upper bins, gamma 2, lambda 0.01"]
    assert failed["verdict"] == "language above standard"
    assert failed["reason"] == "minus standard's +0.5 (0.5 to 0.5), margin 0.1"
    lines = text.trial_table(table).splitlines()
    assert lines[-3].split()[0] == "standard" and lines[-3].count("margin 0.1") == 3
    assert lines[-2].endswith("language above standard")
    assert lines[-1].split()[:5] == ["gamma", "2,", "lambda", "0.01,", "frozen"] and lines[-1].endswith(" passes")


def test_standard_that_does_not_rise_is_no_reason_for_a_smaller_rate(trying):
    table, _ = trying()
    table.loc[is_standard(table), ["low_nats", "change_nats", "high_nats"]] = [-0.1, 0.0, 0.1]
    assert not pd.DataFrame(findings._trial(table))["reason"].str.contains("smaller rate").any()


def test_one_setting_is_read_from_its_rows(trying):
    table, _ = trying(ORDER[2])
    rows = table[(table["gamma"] == 2.0) & (table["lambda"] == 0.1)]
    one = tried_of(rows)
    assert (one.gamma, one.lambda_, one.prior) == ORDER[2]
    assert one.differences["language"].interval.estimate == pytest.approx(0.0)
    assert one.differences["visual"].interval.estimate == pytest.approx(-2.0)
    assert one.differences["visual"].margin_nats == pytest.approx(0.1)
