"""A study: what is complete is not run again, arms are compared scene by scene, and what counts follows the rule."""

import shutil
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from records import read_record
from records.tables.study import TABLES
from study import effects, runs
from tests.train.small import small


@pytest.fixture(scope="module")
def folder(checkpoints, tmp_path_factory):
    """Two arms and the first student of the small pair, two seeds, one step."""
    settings = {name: value for name, value in asdict(small(checkpoints)).items() if name in _SMALL}
    out = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "SHARED", runs.SHARED | settings)
        patch.setattr(runs, "STUDENT", settings["student"])
        for seed in (0, 1):
            for arm in ("initial", "standard", "vgs-lp"):
                runs.run_arm(arm, seed, 16, out, {"steps": 1})
    return out


_SMALL = ("student", "teacher", "batch", "micro_batch", "max_response", "held_out")


def test_every_run_answers_the_same_scenes(folder):
    rows = effects.collect(folder)["verdicts"]
    assert rows.groupby(["arm", "seed"])["group"].value_counts().unstack().to_numpy().tolist() == [[12, 2, 2]] * 6
    assert rows.groupby(["arm", "seed"])["prompt_id"].agg(tuple).nunique() == 1


def test_a_complete_run_is_left_alone(folder, monkeypatch):
    monkeypatch.setattr(runs, "train", None)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*.parquet")}
    runs.run_arm("standard", 1, 16, folder, {"steps": 1})
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/*.parquet")} == before


def test_a_complete_run_with_other_flags_is_refused(folder, capsys):
    flags = ["--arms", "standard", "--seeds", "1", "--steps", "1", "--scenes", "16", "--lr", "0.5"]
    assert runs.main([*flags, "--out", str(folder)]) == 2
    assert "`lr` 0.0003, not 0.5" in capsys.readouterr().err


def test_the_record_is_read_back(folder, tmp_path, capsys):
    assert effects.main([str(folder), "--out", str(tmp_path / "record")]) == 0
    found = read_record(tmp_path / "record", *TABLES)
    assert set(found.tables["curves"]["arm"]) == {"standard", "vgs-lp"}
    assert set(found.header["settings"]["runs"]) == {
        f"{arm}-{seed}" for arm in ("standard", "vgs-lp") for seed in (0, 1)
    }
    whole = found.tables["curves"].query("arm == 'vgs-lp' and rollouts == 'fixed' and step == 1 and bin == -1")
    assert len(whole) == 2 and whole["visual_nats"].notna().all()
    assert "vgs-lp" in capsys.readouterr().out


def test_no_study_is_one_line(tmp_path, capsys):
    assert effects.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_other_scenes_are_refused(folder, capsys):
    flags = ["--arms", "standard", "--seeds", "1", "--steps", "1", "--scenes", "8", "--out", str(folder)]
    assert runs.main(flags) == 2
    assert "has 16 scenes, not 8" in capsys.readouterr().err


def test_runs_on_other_scenes_are_not_compared(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "study")
    path = tmp_path / "study" / "vgs-lp-1" / runs.ANSWERS
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    assert effects.main([str(tmp_path / "study")]) == 2
    assert "other scenes" in capsys.readouterr().err


def test_a_study_without_training_is_one_line(folder, tmp_path, capsys):
    shutil.copytree(folder / "initial-0", tmp_path / "study" / "initial-0")
    assert effects.main([str(tmp_path / "study")]) == 2
    assert "no arm that was trained" in capsys.readouterr().err


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
    found = effects.effects(curves([1.0] * len(gains)), scenes(gains))
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
    found = effects.effects(curves(values), scenes([0] * len(values)))
    rows = found.query("arm == 'vgs' and quantity == 'visual'")
    assert list(rows["where"]) == ["all", "bins 7-9"] and set(rows["counts_as"]) == {counts}
    assert rows["difference"].tolist() == pytest.approx([np.mean(values) - 1.0] * 2)
    same = "no difference" if len(values) > 1 else "not judged"
    assert set(found.query("quantity == 'language'")["counts_as"]) == {same}
