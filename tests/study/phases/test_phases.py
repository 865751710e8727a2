"""Pairs with set gaps: what is run, and the table of effects against a twin by hand."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from records import RecordError, read_record
from study.phases.__main__ import main
from study.phases.pairs import read_pairs
from study.phases.runs import students
from study.phases.table import contrasts, loss_changes, phases, steered_angles
from study.rules import LONG_ARMS, PRIMARY
from vlm.checkpoints.checkpoint import fingerprints

CARD = {
    "about": "made for a test",
    "gaps": {"bins 7-9": {"visual": 0.3, "language": 0.2, "standard": 0.4, "tokens": 12, "vds": 1.0}},
}


def curves(changes):
    """Fixed rollouts before and after: bins 7 to 9 move by what is asked for, the others by 100."""
    rows = []
    for (arm, seed), change in changes.items():
        for step in (0, 48):
            for number in range(-1, 10):
                moved = (change + 0.1 * (number - 8) if number >= 7 else 100.0) if step else 0.0
                losses = {f"{loss}_nats": 1.0 + moved for loss in ("standard", "language", "visual")}
                rows.append({"arm": arm, "seed": seed, "step": step, "rollouts": "fixed", "bin": number} | losses)
    return pd.DataFrame(rows)


CHANGES = {
    (arm, seed): (0.01 * seed - 0.11) * (arm == "vgs") + 0.3 * seed for arm in ("standard", "vgs") for seed in range(3)
}
VERDICTS = pd.DataFrame(
    [
        {"arm": arm, "seed": seed, "group": "high", "prompt_id": f"p{n}", "correct": n < 5 + seed + 2 * (arm == "vgs")}
        for arm in ("standard", "vgs")
        for seed in range(3)
        for n in range(10)
    ]
)
NO_GRADIENTS = pd.DataFrame(columns=["arm", "seed", "step", "scope"])


def record(**tables):
    return SimpleNamespace(table=tables.__getitem__)


def test_the_change_is_that_of_the_upper_bins():
    changes = loss_changes(curves(CHANGES), "standard")
    assert changes.to_dict() == pytest.approx(CHANGES)


def test_a_row_is_the_difference_from_standard_by_student_s_t():
    table = phases({"one": (CARD, record(curves=curves(CHANGES), verdicts=VERDICTS, gradients=NO_GRADIENTS))})
    row = table[table["quantity"] == "standard"].iloc[0]
    assert (row["pair"], row["arm"], row["n_seeds"]) == ("one", "vgs", 3)
    assert row["difference"] == pytest.approx(-0.1)
    half = 4.3026527 * 0.01 / np.sqrt(3)  # t with 2 degrees of freedom; the differences are -0.11, -0.10, -0.09
    assert (row["low"], row["high"]) == pytest.approx((-0.1 - half, -0.1 + half))
    assert row["counts_as"] == "lower"
    assert (row["visual_gap_nats"], row["language_gap_nats"]) == (0.3, 0.2)
    correct = table[table["quantity"] == "correct"].iloc[0]
    assert correct["difference"] == pytest.approx(20.0)


def test_every_primary_contrast_is_made_where_both_arms_were_run():
    assert {*PRIMARY} <= {*contrasts(LONG_ARMS)}
    assert contrasts(["vgs-lp-lambda-1", "standard", "vgs"]) == [("vgs-lp-lambda-1", "standard"), ("vgs", "standard")]
    assert contrasts(["vgs", "vgs-frozen"]) == []


def test_arms_without_a_common_seed_are_left_out():
    changes = {("standard", 0): 0.0, ("vgs", 1): 0.1, ("standard", 2): 0.0, ("vgs-frozen", 2): 0.3}
    answers = [{"arm": arm, "seed": seed, "group": "high", "correct": True} for arm, seed in changes]
    tables = {"curves": curves(changes), "verdicts": pd.DataFrame(answers), "gradients": NO_GRADIENTS}
    assert set(phases({"one": (CARD, record(**tables))})["arm"]) == {"vgs-frozen"}


def test_arms_are_compared_with_each_other_over_their_common_seeds():
    arms = {"standard": 0.0, "vgs-lp-lambda-1": 0.2, "vgs-lp-gamma-0-lambda-1": 0.15}
    changes = {(arm, seed): value + 0.01 * seed for arm, value in arms.items() for seed in range(3)}
    del changes["vgs-lp-lambda-1", 2]
    answers = [{"arm": arm, "seed": seed, "group": "high", "correct": True} for arm, seed in changes]
    tables = {"curves": curves(changes), "verdicts": pd.DataFrame(answers), "gradients": NO_GRADIENTS}
    table = phases({"one": (CARD, record(**tables))}).query("quantity == 'standard'")
    last = table.iloc[-1]
    assert (last["arm"], last["against"], last["n_seeds"]) == ("vgs-lp-lambda-1", "vgs-lp-gamma-0-lambda-1", 2)
    assert (last["difference"], last["change_against"]) == pytest.approx((0.05, 0.155))


@given(st.integers(0, 10_000), st.floats(0.0, 8.0))
def test_the_steered_angle_is_that_of_the_vectors(seed, gamma):
    generator = torch.Generator().manual_seed(seed)
    standard, visual = torch.randn(2, 6, dtype=torch.float64, generator=generator)
    between = torch.rad2deg(torch.arccos(torch.cosine_similarity(standard, visual, dim=0)))
    row = {"arm": "standard", "seed": 0, "step": 0, "scope": "all", "angle_standard_visual_deg": float(between)}
    row |= {"norm_standard": float(standard.norm()), "norm_visual": float(visual.norm())}
    cosine = torch.cosine_similarity(standard, standard + gamma * visual, dim=0).clamp(-1, 1)
    (ours,) = steered_angles(pd.DataFrame([row, row | {"step": 48, "norm_visual": 9.0}]), gamma)
    assert ours == pytest.approx(float(torch.rad2deg(torch.arccos(cosine))), abs=1e-4)


def test_the_command_trains_adds_to_the_record_and_writes_the_table(checkpoints, tmp_path, capsys, monkeypatch):
    suite, cards = tmp_path / "suite", tmp_path / "cards"
    shutil.copytree(checkpoints / "student", suite / "one/student")
    teacher = {"teacher": str(checkpoints / "teacher"), "fingerprint": fingerprints(str(checkpoints / "teacher"))[0]}
    (suite / "one/student/pair.json").write_text(json.dumps(teacher))
    cards.mkdir()
    weights = {"weights_of_model": fingerprints(str(suite / "one/student"))[0]}
    weights["weights_of_teacher"] = teacher["fingerprint"]
    (cards / "one.json").write_text(json.dumps(CARD | weights))
    assert list(students(suite)) == ["one"]
    places = {"suite": suite, "cards": cards, "runs": tmp_path / "runs", "records": tmp_path / "records"}
    flags = [word for name, path in places.items() for word in (f"--{name}", str(path))]
    flags += [
        "--pairs",
        "one",
        "--arms",
        "standard",
        "vgs",
        "--steps",
        "1",
        "--answers",
        "8",
        "--out",
        str(tmp_path / "out"),
    ]
    flags += ["--lr", "2e-5", "--weight-average", "1"]
    short = {"batch": 4, "max_response": 4, "held_out": 4, "allow_truncated": True}
    monkeypatch.setattr("study.suite.designs.RUN", short)
    assert main([*flags, "--seeds", "0"]) == 0
    made = read_record(tmp_path / "records/one")
    assert len(made.verdicts) == 16
    stated = made.header["settings"]["runs"]["vgs-0"]
    assert (stated["steps"], stated["lr"], stated["weight_average"]) == (1, 2e-5, 1.0)
    table = read_record(tmp_path / "out").phases
    assert set(table["counts_as"]) == {"not judged"}
    assert main([*flags, "--seeds", "0", "1"]) == 0
    assert set(read_record(tmp_path / "out").phases["n_seeds"]) == {2}
    monkeypatch.setattr("study.phases.runs.run_seed", None)
    assert main([*flags, "--no-runs"]) == 0
    printed = capsys.readouterr().out
    assert "next: python -m figures" in printed and "correct" in printed and " against " in printed
    (cards / "one.json").write_text(json.dumps(CARD | weights | {"weights_of_teacher": "0123"}))
    assert main([*flags, "--no-runs"]) == 2
    assert "the card of one must be of the models that its runs began with" in capsys.readouterr().err


def test_the_grid_is_what_is_run_by_default(tmp_path, capsys, checkpoints):
    suite = tmp_path / "suite"
    shutil.copytree(checkpoints / "student", suite / "one/student")
    (suite / "one/student/pair.json").write_text("{}")
    assert main(["--suite", str(suite)]) == 2
    assert "`pairs` must be of one, got 'grid-v0-l0'" in capsys.readouterr().err


def test_a_folder_without_pairs_is_refused_in_one_line(tmp_path, capsys):
    assert main(["--suite", str(tmp_path)]) == 2
    assert "make them with `python -m study.suite`" in capsys.readouterr().err


def of_runs(**flags):
    """A record of one run, by its flags."""
    header = {"weights": {"student": "s", "teacher": "t"}, "settings": {"runs": {"vgs-lp-0": {"seed": 0} | flags}}}
    return SimpleNamespace(header=header)


@pytest.mark.parametrize("flag", ["steps", "lr", "weight_average"])
def test_pairs_whose_runs_have_other_flags_are_refused(tmp_path, monkeypatch, flag):
    same = {"steps": 48, "lr": 1e-4, "weight_average": 0.0}
    made = {"one": of_runs(**same), "two": of_runs(**same | {"seed": 5, flag: 0.5})}
    for name in made:
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text("{}")
        card = {"weights_of_model": "s", "weights_of_teacher": "t"}
        (tmp_path / f"{name}.json").write_text(json.dumps(card))
    monkeypatch.setattr("study.phases.pairs.read_record", lambda place: made[place.name])
    with pytest.raises(RecordError, match=f"two/vgs-lp-0 has `{flag}` 0.5, one/vgs-lp-0"):
        read_pairs(tmp_path, tmp_path)
    made["two"] = of_runs(**same, student="elsewhere")
    assert list(read_pairs(tmp_path, tmp_path)) == ["one", "two"]
