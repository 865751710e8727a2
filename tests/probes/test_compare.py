"""Two students compared: losses and angles are those of other probes at the same tokens, and nothing changes in itself.

Float64 throughout, so that what should not matter does not.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probes import Analyzer, angles, compare, sampling, vds
from probes.stages import responses
from records import ANGLES, Shards, read_record
from records.tables import comparison
from records.tables.comparison import LOSSES
from stats import bootstrap_interval
from tests import models
from tests.killed import Killed
from vlm.responses.evaluation import Verdict
from vlm.responses.rollouts import Rollout

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--limit", "8", "--max-response", "5", "--bins", "3")
SETTING = (*SHORT, "--per-bin", "3", "--accuracy-prompts", "6")
LOSSES_ALONE = (*SHORT, "--per-bin", "0", "--accuracy-prompts", "0")


@pytest.fixture(scope="module")
def before(checkpoints):
    return checkpoints / "student"


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    return models.write_checkpoint(tmp_path_factory.mktemp("after") / "step-9", models.STUDENT, seed=3)


@pytest.fixture(scope="module")
def exact(checkpoints):
    return ["--teacher", str(checkpoints / "teacher"), "--dtype", "float64"]


@pytest.fixture(scope="module")
def folder(before, after, exact, tmp_path_factory):
    out = tmp_path_factory.mktemp("compare") / "record"
    assert compare.main([str(before), str(after), *exact, *SETTING, "--out", str(out)]) == 0
    return out


def tables(folder, *names):
    return read_record(folder, *(names or (*comparison.TABLES, "rollouts"))).tables


def test_the_record_holds_its_tables_and_the_picture(folder):
    drawn = {"before_after.png", "before_after.svg"}
    csv = {"changes.csv", "angle_changes.csv", "accuracy_changes.csv"}
    parquet = {"rollouts.parquet", "token_changes.parquet", "unit_changes.parquet", "answers.parquet"}
    assert {path.name for path in folder.iterdir()} == {"record.json", "examples.parquet"} | drawn | csv | parquet
    header = read_record(folder).header
    assert [name.split("/")[-1] for name in header["pair"]["student"]] == ["student", "step-9"]
    assert len(set(header["weights"]["student"])) == 2


def test_rows_are_bins_then_all_then_text(folder):
    found = tables(folder)
    assert found["changes"]["bin"].tolist() == ["0", "1", "2", "all", "text"]
    assert found["angle_changes"].groupby("scope")["bin"].apply(list).tolist() == [["0", "1", "2", "all"]] * 2
    counts = found["token_changes"].groupby("bin").size()
    assert found["changes"]["n_tokens"].tolist() == [*counts[[0, 1, 2]], counts[[0, 1, 2]].sum(), counts[-1]]
    text = found["changes"].iloc[-1]
    assert text["kl_visual_change_mean_nats"] == 0 != text["kl_language_change_mean_nats"]


@pytest.mark.slow
def test_a_checkpoint_compared_with_itself_has_not_changed(before, exact, tmp_path):
    again = models.copy_of(before, tmp_path / "again")
    assert compare.main([str(before), str(again), *exact, *SETTING, "--out", str(tmp_path / "self")]) == 0
    found = tables(tmp_path / "self")
    for name in ("changes", "angle_changes", "accuracy_changes"):
        changed = found[name].filter(like="_change_")
        assert changed.size and not changed.isna().all(axis=None)
        assert (changed.fillna(0) == 0).all(axis=None), name
    assert (found["accuracy_changes"][["n_gained", "n_lost"]] == 0).all(axis=None)
    assert found["examples"].empty


def of_the_same_rollouts(probe, checkpoint, exact, rollouts, out, monkeypatch, *argv):
    """A record of another probe, the checkpoint being given other responses for its own."""
    with monkeypatch.context() as patch:
        patch.setattr(sampling, "generate", lambda loaded, prompts, settings, **_: rollouts)
        assert probe.main([str(checkpoint), *exact, *SHORT, *argv, "--out", str(out)]) == 0
    return out


@pytest.fixture
def rollouts(folder):
    """The responses that were scored."""
    said = tables(folder)["token_changes"].groupby("rollout_id")
    return [Rollout(rows["prompt_id"].iloc[0], 0, tuple(rows["token_id"]), "", truncated=False) for _, rows in said]


def test_a_change_of_loss_is_the_difference_of_two_records_of_the_vds_probe(
    folder, before, after, exact, rollouts, tmp_path, monkeypatch
):
    twins = [
        tables(of_the_same_rollouts(vds, side, exact, rollouts, tmp_path / side.name, monkeypatch), "tokens")["tokens"]
        for side in (before, after)
    ]
    change = pd.DataFrame({loss: twins[1][f"{loss}_nats"] - twins[0][f"{loss}_nats"] for loss in LOSSES})
    bins = twins[0]["bin"]
    for _, row in tables(folder)["changes"].iterrows():
        inside = {"all": bins >= 0, "text": bins < 0}.get(row["bin"], bins.astype(str) == row["bin"])
        for loss in LOSSES:
            prompts = twins[0]["prompt_id"][inside].to_numpy(str)
            interval = bootstrap_interval(change[loss][inside].to_numpy(), prompts)
            found = [row[f"{loss}_change_{end}_nats"] for end in ("mean", "low", "high")]
            assert found == pytest.approx([interval.estimate, interval.low, interval.high], abs=1e-12, nan_ok=True)
            assert row[f"{loss}_after_mean_nats"] == pytest.approx(twins[1][f"{loss}_nats"][inside].mean())
    assert (change.abs().max() > 1e-3).all()


def test_angles_are_those_of_the_angles_probe_at_the_same_tokens(folder, after, exact, rollouts, tmp_path, monkeypatch):
    out = tmp_path / "angles"
    of_the_same_rollouts(angles, after, exact, rollouts, out, monkeypatch, "--per-bin", "3")
    ours, theirs = tables(folder)["unit_changes"], tables(out, "units")["units"]
    pd.testing.assert_frame_equal(ours[["position", "bin", "scope"]], theirs[["position", "bin", "scope"]])
    for angle in ANGLES:
        np.testing.assert_allclose(ours[f"{angle}_after_deg"], theirs[f"{angle}_deg"])
    rows = tables(folder)["angle_changes"].query("scope == 'all' and bin == '2'").iloc[0]
    inside = ours.query("scope == 'all' and bin == 2")
    change = inside["angle_standard_visual_after_deg"] - inside["angle_standard_visual_before_deg"]
    assert rows["angle_standard_visual_change_mean_deg"] == pytest.approx(change.mean()) != 0
    assert rows["n_units"] == len(inside) == 3


def test_numbers_do_not_depend_on_the_batch(folder, before, after, exact, tmp_path):
    argv = [str(before), str(after), *exact, *SETTING, "--batch", "3", "--out", str(tmp_path / "three")]
    assert compare.main(argv) == 0
    ours, others = tables(folder), tables(tmp_path / "three")
    for name in (*comparison.TABLES, "rollouts"):
        pd.testing.assert_frame_equal(ours[name], others[name], rtol=1e-8, atol=1e-9)


@pytest.mark.slow
def test_the_other_way_round_all_changes_turn_their_sign(before, after, exact, tmp_path, folder):
    argv = [str(after), str(before), *exact, *SETTING, "--rollouts-of", "after", "--out", str(tmp_path / "back")]
    assert compare.main(argv) == 0
    forth, back = tables(folder), tables(tmp_path / "back")
    pd.testing.assert_frame_equal(forth["rollouts"], back["rollouts"])
    for name in ("changes", "angle_changes", "accuracy_changes"):
        for column in forth[name].filter(like="_change_mean"):
            np.testing.assert_allclose(forth[name][column], -back[name][column], atol=1e-12)
    np.testing.assert_allclose(
        forth["changes"]["kl_visual_change_low_nats"], -back["changes"]["kl_visual_change_high_nats"], atol=1e-9
    )


def test_gradients_and_answers_can_be_left_out(before, after, exact, tmp_path, capsys):
    assert compare.main([str(before), str(after), *exact, *LOSSES_ALONE, "--out", str(tmp_path / "few")]) == 0
    assert set(read_record(tmp_path / "few").record["tables"]) == {"rollouts", "token_changes", "changes"}
    shown = capsys.readouterr().out
    assert "Mean losses before" in shown and "angles" not in shown and "accuracy" not in shown
    assert (tmp_path / "few" / "before_after.png").is_file()


@pytest.mark.slow
def test_an_interrupted_comparison_is_continued_to_the_same_record(before, after, exact, folder, tmp_path, monkeypatch):
    adding = Shards.add

    def add(self, table, shard, frame):
        if (table, self._part) == ("units", "@1"):
            raise Killed
        adding(self, table, shard, frame)

    argv = [str(before), str(after), *exact, *SETTING, "--out", str(tmp_path / "parts")]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Shards, "add", add)
        compare.main(argv)
    monkeypatch.setattr(sampling, "generate", None)  # the responses are there
    assert compare.main(argv) == 0
    for name in ("changes.csv", "angle_changes.csv", "accuracy_changes.csv", "token_changes.parquet"):
        assert (tmp_path / "parts" / name).read_bytes() == (folder / name).read_bytes(), name


def test_answers_that_changed_are_drawn_and_counted(before, after, exact, tmp_path, monkeypatch, capsys):
    def evaluate(member, prompts, sampling):
        """Before, all are right; after, those that show no picture."""
        assert sampling.greedy
        right = [member.name.endswith("student") or not prompt.has_image for prompt in prompts]
        rollouts = [
            Rollout(prompt.prompt_id, 0, (1,), f"it is {ok}", truncated=False)
            for prompt, ok in zip(prompts, right, strict=True)
        ]
        return [Verdict(*both, correct=ok) for *both, ok in zip(prompts, rollouts, right, strict=True)]

    monkeypatch.setattr(responses, "evaluate", evaluate)
    argv = [*LOSSES_ALONE[:-1], "6", "--examples", "4", "--out", str(tmp_path / "lost")]
    assert compare.main([str(before), str(after), *exact, *argv]) == 0
    found = tables(tmp_path / "lost", "examples", "accuracy_changes", "answers")
    assert found["examples"]["verdict"].tolist() == ["lost"] * 4
    assert found["examples"]["response_after"].eq("it is False").all()
    assert found["examples"]["picture"].str[:4].eq(b"\x89PNG").all()
    [every] = found["accuracy_changes"].query("by == 'all'").to_dict("records")
    assert (every["n_prompts"], every["n_gained"], every["n_lost"]) == (6, 0, 5)
    assert every["accuracy_change_mean_percent"] == pytest.approx(-500 / 6)
    assert (tmp_path / "lost" / "changed_answers.png").is_file()
    [line] = [words.split() for words in capsys.readouterr().out.splitlines() if words.split()[:2] == ["all", "all"]]
    assert line[2:6] == ["6", "100.0", "16.7", "-83.3"] and line[-2:] == ["0", "5"]


def named(checkpoint, folder, teacher, fingerprint=""):
    """A copy of a checkpoint whose pair.json names a teacher."""
    copied = models.copy_of(checkpoint, folder)
    (copied / "pair.json").write_text(json.dumps({"teacher": str(teacher), "fingerprint": fingerprint}))
    return copied


@pytest.mark.parametrize("naming", [(True, False), (False, True), (True, True)])
def test_the_teacher_is_the_one_that_either_names(before, after, checkpoints, tmp_path, naming):
    teachers = checkpoints / "teacher", models.copy_of(checkpoints / "teacher", tmp_path / "the same elsewhere")
    sides = [
        named(side, tmp_path / f"named-{number}", teachers[number]) if names else side
        for number, (side, names) in enumerate(zip((before, after), naming, strict=True))
    ]
    assert compare.main([*map(str, sides), *LOSSES_ALONE, "--out", str(tmp_path / "out")]) == 0
    assert len(read_record(tmp_path / "out").header["weights"]["teacher"]) == 16


def test_a_student_in_memory_is_compared_with_a_checkpoint(folder, checkpoints, after, exact, rollouts):
    """The same tables as from the folders, with the responses and prompts given as objects."""
    pair = models.load(checkpoints, "float64")
    options = {"dtype": "float64", "limit": 8, "max_response": 5, "bins": 3, "prompts": models.scenes(8)}
    members = {"student": pair.student.model, "teacher": pair.teacher.model, "processor": pair.student.processor}
    analyzer = Analyzer.from_models(**members, rollouts=rollouts, **options)
    ours = analyzer.compare(str(after), per_bin=3, accuracy_prompts=6)
    for name in ("changes", "angle_changes", "accuracy_changes"):
        pd.testing.assert_frame_equal(ours.tables[name], tables(folder)[name], rtol=1e-8, atol=1e-9)


def complaint(capsys, *argv):
    assert compare.main([str(arg) for arg in argv]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1 and shown.out == ""
    return shown.err


def test_what_does_not_fit_is_refused(before, after, checkpoints, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    teacher = checkpoints / "teacher"
    other = models.write_checkpoint(tmp_path / "other-teacher", models.TEACHER, seed=9)
    first = named(before, tmp_path / "first", teacher)
    second = named(after, tmp_path / "second", other)
    stale = named(after, tmp_path / "stale", teacher, fingerprint="0" * 16)
    assert "`teacher` must be one for both, but pair.json of BEFORE names" in complaint(capsys, first, second)
    assert "names a teacher with fingerprint 0000" in complaint(capsys, first, stale)
    assert "`teacher` must be given" in complaint(capsys, before, after)
    assert "AFTER nobody/nothing cannot be compared" in complaint(capsys, first, "nobody/nothing")
    assert "must be two, BEFORE and AFTER, got 1" in complaint(capsys, first)
    assert "must be two, BEFORE and AFTER, got 3" in complaint(capsys, first, first, first)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("spoilt", "name"), [(0, "BEFORE"), (1, "AFTER")])
def test_another_tokenizer_is_refused_by_the_field(before, after, exact, tmp_path, spoilt, name):
    """As a process: one line, exit code 2, no record begun."""
    sides = [before, after]
    sides[spoilt] = models.copy_of(sides[spoilt], tmp_path / "other")
    path = sides[spoilt] / "tokenizer.json"
    path.write_text(path.read_text().replace('"colour":', '"color":'))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "probes.compare", *map(str, sides), *exact]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: `checkpoints`: {name} {sides[spoilt]} cannot be compared: ")
    assert "`vocab` differs at" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()
