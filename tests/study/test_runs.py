"""A study: what is complete is not run again, arms are compared prompt by prompt, and records are read back."""

import json
import re
import shutil

import pandas as pd
import pytest

import study
from records import read_record
from records.tables.study import TABLES
from study import effects, runs
from study.__main__ import main
from study.answers import ANSWERS

ARMS = ["initial", "standard", "vgs-lp"]


@pytest.fixture(scope="module")
def flags(checkpoints):
    """The flags of a run that takes seconds, one step."""
    pair = {"student": str(checkpoints / "student"), "teacher": str(checkpoints / "teacher")}
    return pair | {"batch": 6, "micro_batch": 6, "max_response": 5, "held_out": 4, "steps": 1}


@pytest.fixture(scope="module")
def folder(flags, tmp_path_factory):
    """Two arms and the first student of the small pair, two seeds, one step."""
    out = tmp_path_factory.mktemp("study")
    made = study.run(ARMS, [0, 1], folder=out, answers=16, **flags)
    assert made == [out / f"{arm}-{seed}" for seed in (0, 1) for arm in ARMS]
    return out


@pytest.fixture
def command(flags, folder, capsys):
    """Run `python -m study` on one arm of the folder; return the exit code and what it said."""

    def run(*changes, out=folder):
        words = [word for name, value in flags.items() for word in ("--" + name.replace("_", "-"), str(value))]
        words += ["--arms", "standard", "--seeds", "1", "--answers", "16", "--out", str(out), *changes]
        return main(words), capsys.readouterr()

    return run


def test_every_run_answers_the_same_prompts(folder):
    rows = effects.collect(folder)["verdicts"]
    assert rows.groupby(["arm", "seed"])["group"].value_counts().unstack().to_numpy().tolist() == [[12, 2, 2]] * 6
    assert rows.groupby(["arm", "seed"])["prompt_id"].agg(tuple).nunique() == 1


def test_a_complete_run_is_left_alone(folder, flags, monkeypatch):
    monkeypatch.setattr(runs, "train", None)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*.parquet")}
    study.run(ARMS, [0, 1], folder=folder, answers=16, **flags)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/*.parquet")} == before


def test_the_command_says_what_to_run_next(command, folder):
    code, said = command()
    assert code == 0 and said.out.splitlines()[-1] == f"next: python -m study.effects {folder}"


def test_a_complete_run_with_other_flags_is_refused(command):
    code, said = command("--lr", "0.5")
    assert code == 2 and "`lr` 0.0003, not 0.5" in said.err and said.err.count("\n") == 1


def test_other_answers_are_refused(command):
    code, said = command("--answers", "8")
    assert code == 2 and "`answers` 16, not 8" in said.err and said.err.count("\n") == 1


def test_another_student_is_refused(command, flags):
    code, said = command("--student", flags["teacher"])
    assert code == 2 and "`student`" in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize(("answers", "words"), [(8, "answers to 16 prompts, not 8"), (17, None)])
def test_a_folder_that_does_not_name_its_prompts_is_looked_into(folder, flags, tmp_path, capsys, answers, words):
    shutil.copytree(folder / "initial-0", tmp_path / "study" / "initial-0")
    out = tmp_path / "study"
    if words is None:  # 17 are rounded down to the same 16
        study.run(["initial"], [0], folder=out, answers=answers, **flags)
        assert json.loads((out / runs.STUDY).read_text())["answers"] == 16
        return
    with pytest.raises(ValueError, match=words):
        study.run(["initial"], [0], folder=out, answers=answers, **flags)


def test_answers_to_other_prompts_are_refused(folder, flags, tmp_path):
    shutil.copytree(folder / "initial-0", tmp_path / "study" / "initial-0")
    path = tmp_path / "study" / "initial-0" / ANSWERS
    rows = pd.read_parquet(path)
    rows.attrs = {}  # as an earlier version wrote them, without a checksum
    rows.assign(prompt_id=["stranger", *rows["prompt_id"][1:]]).to_parquet(path)
    with pytest.raises(ValueError, match="prompt 'stranger', which is not asked"):
        study.run(["initial"], [0], folder=tmp_path / "study", answers=16, **flags)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--arms", "standard", "nothing"], "`arms` must be of initial, standard, .*, got 'nothing'"),
        (["--seeds", "0", "-1"], "`--seeds` must be a list, each entry a whole number of at least 0, got -1"),
        (["--answers", "0"], "`--answers` must be a whole number above 0"),
        (["--answers", "7"], "`answers` must be at least 8"),
        (["--arms", "grpo", "--batch", "6"], "`batch` must give a multiple of 4 rollouts for arm 'grpo', got 6"),
        (["--device", "abacus"], "`device` 'abacus' cannot be used"),
    ],
)
def test_wrong_flags_are_one_line(command, tmp_path, words, complaint, capsys):
    try:
        code, said = command(*words, out=tmp_path / "none")
    except SystemExit as left:  # the parser's own complaints
        code, said = left.code, capsys.readouterr()
    assert code == 2 and said.err.count("\n") == 1 and re.search(complaint, said.err)
    assert not (tmp_path / "none").exists()


def test_a_file_is_no_folder_of_a_study(command, tmp_path):
    (tmp_path / "file").write_text("")
    code, said = command(out=tmp_path / "file")
    assert code == 2 and "`out` must be a folder" in said.err


def test_the_record_is_read_back(folder, tmp_path, capsys):
    assert effects.main([str(folder), "--out", str(tmp_path / "record")]) == 0
    found = read_record(tmp_path / "record", *TABLES)
    assert set(found.tables["curves"]["arm"]) == {"standard", "vgs-lp"}
    assert set(found.header["settings"]["runs"]) == {
        f"{arm}-{seed}" for arm in ("standard", "vgs-lp") for seed in (0, 1)
    }
    whole = found.tables["curves"].query("arm == 'vgs-lp' and rollouts == 'fixed' and step == 1 and bin == -1")
    assert len(whole) == 2 and whole["visual_nats"].notna().all()
    said = capsys.readouterr().out
    assert "vgs-lp" in said and said.splitlines()[-1] == f"next: python -m figures {tmp_path / 'record'}"


def test_the_record_from_python_is_that_of_the_command(folder, tmp_path):
    found = study.record(folder, tmp_path / "record")
    assert set(found.tables) == set(TABLES) and found.path == tmp_path / "record"
    pd.testing.assert_frame_equal(found.tables["effects"], study.collect(folder)["effects"])


def test_no_study_is_one_line(tmp_path, capsys):
    assert effects.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_runs_on_other_prompts_are_not_compared(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "study")
    path = tmp_path / "study" / "vgs-lp-1" / ANSWERS
    rows = pd.read_parquet(path).iloc[1:]
    rows.attrs = {}
    rows.to_parquet(path)
    assert effects.main([str(tmp_path / "study")]) == 2
    assert "other prompts" in capsys.readouterr().err


def test_a_study_without_training_is_one_line(folder, tmp_path, capsys):
    shutil.copytree(folder / "initial-0", tmp_path / "study" / "initial-0")
    assert effects.main([str(tmp_path / "study")]) == 2
    assert "no arm that was trained" in capsys.readouterr().err


def test_a_study_of_prompts_from_a_file(flags, tmp_path):
    rows = [{"id": f"q{n}", "problem": f"{n} + {n} = ?", "answer": str(2 * n)} for n in range(18)]
    rows += [row | {"id": f"seen-{row['id']}", "dependency": "low"} for row in rows[:2]]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = flags | {"prompts": str(tmp_path / "prompts.jsonl")}
    study.run(["initial", "standard"], [0], folder=tmp_path / "study", answers=5, **own)
    tables = study.record(tmp_path / "study").tables
    asked = tables["verdicts"].query("arm == 'standard'")
    assert list(asked["prompt_id"]) == ["q15", "q16", "q17", "seen-q0", "seen-q1"]
    assert list(asked["group"]) == ["text"] * 3 + ["low"] * 2
    assert set(tables["effects"].query("quantity == 'correct'")["where"]) == {"text", "low"}
    held_out = json.loads((tmp_path / "study" / "standard-0" / "held_out.json").read_text())["rollouts"]
    assert {rollout["prompt_id"] for rollout in held_out} == {"q0", "q1", "q2", "q3"}
    assert json.loads((tmp_path / "study" / "standard-0" / "config.json").read_text())["settings"]["left_out"] == 5


def edited(path, content):
    path.write_bytes(content)


STRANGE = {
    "another run's": lambda run: shutil.copy(run.parent / "vgs-lp-1" / ANSWERS, run),
    "cut": lambda run: edited(run / ANSWERS, (run / ANSWERS).read_bytes()[:200]),
    "empty": lambda run: edited(run / ANSWERS, b""),
    "no parquet": lambda run: edited(run / ANSWERS, b"PAR1 and nothing more PAR1"),
    "an answer that was turned": lambda run: turned(run / ANSWERS),
    "a column less": lambda run: pd.read_parquet(run / ANSWERS).drop(columns="correct").to_parquet(run / ANSWERS),
    "no rows": lambda run: pd.read_parquet(run / ANSWERS).iloc[:0].to_parquet(run / ANSWERS),
}


def turned(path):
    rows = pd.read_parquet(path)
    rows["correct"] = ~rows["correct"]
    rows.to_parquet(path, index=False)


@pytest.mark.parametrize("name", STRANGE)
def test_answers_that_were_changed_are_refused(folder, tmp_path, name, command, capsys):
    out = shutil.copytree(folder, tmp_path / "study", symlinks=True)
    STRANGE[name](out / "standard-1")
    for code, said in (command(out=out), (effects.main([str(out)]), capsys.readouterr())):
        assert code == 2 and said.err.count("\n") == 1 and "standard-1/answers.parquet`" in said.err


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"null", b'{"student": 1, "student": 2}', b"\xff\xfe"])
def test_what_identifies_a_study_or_a_run_is_read_strictly(folder, tmp_path, content, command, capsys):
    out = shutil.copytree(folder, tmp_path / "study", symlinks=True)
    edited(out / runs.STUDY, content)
    code, said = command(out=out)
    assert code == 2 and said.err.count("\n") == 1 and "study.json` is not what a study writes" in said.err
    shutil.copy(folder / runs.STUDY, out)
    edited(out / "standard-1" / "config.json", content)
    for code, said in (command(out=out), (effects.main([str(out)]), capsys.readouterr())):
        assert code == 2 and said.err.count("\n") == 1 and "standard-1/config.json` is not what a run" in said.err


def test_the_flags_of_another_run_are_refused(folder, tmp_path, capsys):
    out = shutil.copytree(folder, tmp_path / "study", symlinks=True)
    shutil.copy(out / "standard-0" / "config.json", out / "vgs-lp-0")
    assert effects.main([str(out)]) == 2
    assert "vgs-lp-0/config.json` is of another run" in capsys.readouterr().err
