"""`--rollouts FILE`: each probe measures the responses of a file, and says how on-policy they are."""

import importlib
import json

import pandas as pd
import pytest

from cli.errors import UserError
from probes import Analyzer, diagnose, sampling, vds
from records import read_record
from tests.probes.conftest import SHORT

PROBES = {
    "angles": ("--per-bin", "2"),
    "vds": (),
    "layers": ("--per-bin", "2"),
    "norms": ("--per-bin", "2"),
    "accuracy": (),
    "compare": ("--per-bin", "0", "--accuracy-prompts", "0"),
    "sensitivity": (),
    "diagnose": ("--skip-geometry", "--skip-forecast", "--shown", "0"),
    "support": (),
}


@pytest.fixture(scope="module")
def sampled(checkpoints):
    """An analyzer of the random pair that has sampled two responses to each prompt."""
    options = {"limit": 8, "max_response": 5, "bins": 3, "rollouts_per_prompt": 2}
    analyzer = Analyzer(str(checkpoints / "student"), teacher=str(checkpoints / "teacher"), **options)
    assert analyzer.rollouts
    return analyzer


def rows(rollouts):
    return [{"prompt_id": r.prompt_id, "response_ids": list(r.token_ids), "source": "elsewhere"} for r in rollouts]


@pytest.fixture(scope="module")
def file(sampled, tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "said.parquet"
    pd.DataFrame(rows(sampled.rollouts)).to_parquet(path)
    return path


@pytest.fixture
def no_sampling(monkeypatch):
    monkeypatch.setattr(sampling, "sample", None)


LONG = ("layers", "norms", "sensitivity")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in PROBES])
def test_every_probe(here, checkpoints, flags, file, sampled, no_sampling, capsys, name):
    argv = [*flags, *PROBES[name], "--rollouts", file, "--out", "record"]
    if name == "accuracy":
        argv = [flags[0], *SHORT[:4], "--rollouts", file, "--out", "record"]
    if name in ("compare", "norms"):  # more than one student
        argv.insert(1, checkpoints / "teacher")
    assert importlib.import_module(f"probes.{name}").main([str(word) for word in argv]) == 0
    said = capsys.readouterr().err
    assert "note: `rollouts`: columns that are not read: source" in said
    assert "note: `rollouts`: 16 responses, on-policy over" in said
    record = read_record(here / "record")
    assert record.header["settings"]["rollouts"].startswith("said.parquet ")
    about = record.notes["rollouts"]
    student = next(own for key, own in about.items() if key.endswith("/student"))
    assert student["word"] == "on-policy" and student["responses"] == 16 and student["ignored_columns"] == ["source"]
    if name in ("compare", "norms"):
        assert len(about) == 2 and said.count("columns that are not read") >= 1
    if "tokens" in record.record["tables"]:
        tokens = record.table("tokens")
        assert tokens["token_id"].tolist() == [i for r in sampled.rollouts for i in r.token_ids]
        pd.testing.assert_frame_equal(tokens, sampled.vds().tokens)
    if "rollouts" in record.record["tables"] and name != "compare":
        assert record.table("rollouts")["response"].tolist() == [r.text for r in sampled.rollouts]


def test_the_same_responses_serve_several_probes_and_are_read_once(flags, checkpoints, file, capsys):
    analyzer = Analyzer(flags[0], teacher=flags[2], limit=8, max_response=5, bins=3, rollouts=file)
    first, second = analyzer.vds(), analyzer.angles(per_bin=2)
    pd.testing.assert_frame_equal(first.tokens, second.tokens)
    assert first.notes["rollouts"] == second.notes["rollouts"]
    assert capsys.readouterr().err.count("16 responses, on-policy") == 1


def test_a_record_is_of_one_content_of_the_file(here, flags, sampled, capsys):
    path = here / "said.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(sampled.rollouts)))
    argv = [*flags, "--rollouts", "said.jsonl", "--out", "record"]
    assert vds.main(argv) == 0 and vds.main(argv) == 0
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(sampled.rollouts[:4])))
    capsys.readouterr()
    assert vds.main(argv) == 2
    assert "`settings.rollouts` 'said.jsonl " in capsys.readouterr().err
    assert vds.main([*argv, "--overwrite"]) == 0
    assert len(read_record(here / "record", "rollouts").rollouts) == 4


@pytest.mark.parametrize(
    ("bad", "extra", "named"),
    [
        ({"prompt_id": "nobody", "response": "4"}, (), "must hold a response to one of the prompts"),
        ({"prompt_id": None, "response_ids": [20] * 6}, (), "`max_response` must be at least 6"),
        ({"prompt_id": None, "response_ids": [3]}, (), "which stands for a picture: leave the response out"),
        ({"prompt_id": None, "response_ids": [20], "log_probs": [1.0]}, (), "must have `log_probs` that are finite"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_a_record_is_begun(here, flags, sampled, capsys, bad, extra, named):
    bad["prompt_id"] = bad["prompt_id"] or sampled.rollouts[0].prompt_id
    (here / "said.jsonl").write_text(json.dumps(bad))
    assert vds.main([*flags, "--rollouts", "said.jsonl", *extra]) == 2
    shown = capsys.readouterr()
    assert named in shown.err and shown.err.count("\n") == 1 and shown.out == ""
    assert not (here / "runs").exists()


def test_accuracy_of_a_file_is_of_its_answers_alone(checkpoints, file, sampled):
    prompts = list(sampled.prompts.values())
    right = [{"prompt_id": p.prompt_id, "response": f"\\boxed{{{p.answer}}}"} for p in prompts]
    analyzer = Analyzer(str(checkpoints / "student"), limit=8, max_response=32, rollouts=right)
    assert analyzer.accuracy().rollouts["correct"].all()
    wrong = [row | {"response": "none"} for row in right]
    other = Analyzer(str(checkpoints / "student"), limit=8, max_response=32, rollouts=wrong).accuracy()
    assert not other.rollouts["correct"].any()
    assert other.header["settings"]["rollouts"] != analyzer.accuracy().header["settings"]["rollouts"]
    for options in ({"samples": 2}, {"without_image": True}):
        with pytest.raises(UserError, match="`samples` and `without_image` belong to answers that are sampled"):
            analyzer.accuracy(**options)


def test_a_diagnosis_does_not_estimate_a_run_from_sampling_that_it_did_not_do(here, flags, file, no_sampling):
    argv = [*flags, "--skip-geometry", "--skip-forecast", "--shown", "0", "--rollouts", str(file), "--out", "record"]
    assert diagnose.main(argv) == 0
    findings = read_record(here / "record", "findings").findings
    rows = findings[findings["question"] == "what a full run would cost"]
    assert rows["value"].isna().all() and rows["reason"].str.contains("sampled elsewhere").all()


def test_without_a_file_no_word_of_it_is_in_a_record(sampled):
    record = sampled.vds()
    assert "rollouts" not in record.header["settings"] and "rollouts" not in record.notes
