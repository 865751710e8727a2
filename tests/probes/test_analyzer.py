"""The analyzer: in memory as in a folder, from models and from responses that are there; what is kept is kept once."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import torch

from cli.errors import UserError
from probes import Advice, Analyzer, angles, sampling, stages
from records import RecordError, open_record, read_record
from vlm.checkpoints.checkpoint import load_model

SMALL = {"limit": 8, "max_response": 5, "bins": 3}
UNITS = {"per_bin": 2}


@pytest.fixture
def pair(checkpoints):
    """The random pair and a small setting, as an analyzer's arguments."""
    return {"student": str(checkpoints / "student"), "teacher": str(checkpoints / "teacher"), **SMALL}


@pytest.fixture(scope="module")
def analyzer(checkpoints):
    """An analyzer in memory that many tests read from."""
    return Analyzer(str(checkpoints / "student"), teacher=str(checkpoints / "teacher"), **SMALL)


@pytest.fixture
def no_sampling(monkeypatch, analyzer):
    """Any response that is sampled from now on is an error; the shared analyzer has its own."""
    analyzer.vds()
    monkeypatch.setattr(sampling, "sample", None)


def equal(one, other, *tables):
    for name in tables or one.record["tables"]:
        pd.testing.assert_frame_equal(one.table(name), other.table(name))


def test_memory_and_a_folder_hold_the_same(analyzer, pair, tmp_path):
    in_memory = analyzer.angles(**UNITS)
    on_disk = Analyzer(**pair, folder=tmp_path).angles(**UNITS)
    assert in_memory.path is None and on_disk.path == tmp_path
    assert in_memory.record["fingerprint"] == on_disk.record["fingerprint"]
    equal(in_memory, on_disk)
    equal(in_memory, read_record(tmp_path))


def test_the_command_is_the_method(pair, tmp_path, capsys):
    measured = Analyzer(**pair, folder=tmp_path / "api").angles(**UNITS)
    words = [pair["student"], "--teacher", pair["teacher"], "--limit", "8", "--max-response", "5", "--bins", "3"]
    assert angles.main([*words, "--per-bin", "2", "--out", str(tmp_path / "command")]) == 0
    assert str(measured) in capsys.readouterr().out
    command = read_record(tmp_path / "command")
    assert command.header == measured.header
    equal(measured, command)


def test_responses_are_sampled_and_scored_once_for_all_measurements(pair, monkeypatch):
    found = Analyzer(**pair)
    first = found.vds()
    monkeypatch.setattr(sampling, "sample", None)
    monkeypatch.setattr(sampling, "score_tokens", None)
    equal(first, found.angles(**UNITS), "tokens", "rollouts")


def test_models_in_memory_are_measured_as_those_that_are_named(analyzer, pair):
    student, teacher = (load_model(pair[side]) for side in ("student", "teacher"))
    given = Analyzer.from_models(student=student.model, teacher=teacher.model, processor=student.processor, **SMALL)
    equal(given.angles(**UNITS), analyzer.angles(**UNITS))


def test_a_student_with_other_weights_has_another_fingerprint(pair):
    student, teacher = (load_model(pair[side]) for side in ("student", "teacher"))

    def fingerprint():
        models = {"student": student.model, "teacher": teacher.model, "processor": student.processor}
        return Analyzer.from_models(**models, **SMALL).vds().record["fingerprint"]

    before = fingerprint()
    with torch.no_grad():
        next(student.model.parameters()).add_(1.0)
    assert fingerprint() != before


@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize("n_before", [0, 1])
def test_weights_that_changed_are_not_measured_beside_old_responses(pair, side, n_before):
    models = {name: load_model(pair[name]) for name in ("student", "teacher")}
    given = {name: loaded.model for name, loaded in models.items()} | {"processor": models["student"].processor}
    found = Analyzer.from_models(**given, **SMALL)
    for _ in range(n_before):
        found.vds()
    with torch.no_grad():
        next(given[side].parameters()).add_(1.0)
    with pytest.raises(UserError, match="weights changed; make another analyzer"):
        found.angles(**UNITS)
    assert Analyzer.from_models(**given, **SMALL).angles(**UNITS).bins is not None


def test_steps_that_are_taken_back_are_no_change(pair):
    student, teacher = (load_model(pair[side]) for side in ("student", "teacher"))
    models = {"student": student.model, "teacher": teacher.model, "processor": student.processor}
    found = Analyzer.from_models(**models, **SMALL)
    before = found.angles(**UNITS)
    found.diagnose(per_bin=2, trial_steps=1, shown=0)
    equal(found.angles(**UNITS), before)


def test_a_student_without_gradients_is_refused(pair):
    student, teacher = (load_model(pair[side]) for side in ("student", "teacher"))
    student.model.requires_grad_(False)
    with pytest.raises(UserError, match="`student` must have parameters that require a gradient"):
        Analyzer.from_models(student=student.model, teacher=teacher.model, processor=student.processor, **SMALL)


@pytest.mark.parametrize("form", ["rollouts", "ids", "file"])
def test_responses_that_are_there_are_measured(analyzer, pair, form, tmp_path, no_sampling):
    rows = [{"prompt_id": said.prompt_id, "token_ids": list(said.token_ids)} for said in analyzer.rollouts]
    path = tmp_path / "responses.jsonl"
    pd.DataFrame(rows).to_json(path, orient="records", lines=True)
    rollouts = {"rollouts": analyzer.rollouts, "ids": rows, "file": path}[form]
    equal(Analyzer(**pair, rollouts=rollouts).vds(), analyzer.vds(), "tokens")


def test_text_is_read_with_the_tokenizer_and_ended(analyzer, pair):
    prompt_id = analyzer.rollouts[0].prompt_id
    found = Analyzer(**{**pair, "bins": 2}, rollouts=[{"prompt_id": prompt_id, "response": "two"}])
    (said,) = found.rollouts
    assert said.text == "two" and not said.truncated and len(found.tokens) == len(said.token_ids)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"prompt_id": "elsewhere", "token_ids": [1]}, "must hold a response to one of the prompts"),
        ({"token_ids": [1]}, "`rollouts`, row 0 must be a JSON object with `prompt_id`"),
        ({"prompt_id": "p", "token_ids": [10**6]}, "`rollouts`, row 0, prompt 'p', must have"),
        ({"prompt_id": "p", "token_ids": []}, "`rollouts`, row 0, prompt 'p', must have"),
        ({"prompt_id": "p", "response": 3}, "`rollouts`, row 0, prompt 'p', must have"),
    ],
)
def test_a_row_that_is_no_response_is_named(pair, row, complaint):
    with pytest.raises(UserError, match=complaint):
        Analyzer(**pair, rollouts=[row]).vds()


def test_an_interrupted_measurement_goes_on(pair, tmp_path, monkeypatch):
    whole = Analyzer(**pair).angles(**UNITS)
    with monkeypatch.context() as patch:
        patch.setattr(stages, "measure_null", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Analyzer(**pair, folder=tmp_path).angles(**UNITS)
    with pytest.raises(RecordError, match="incomplete"):
        read_record(tmp_path)
    monkeypatch.setattr(stages, "unit_grams", None)  # gradients are there
    equal(Analyzer(**pair, folder=tmp_path).angles(**UNITS), whole)


def test_a_complete_measurement_is_read_back(pair, tmp_path, monkeypatch):
    first = Analyzer(**pair, folder=tmp_path).vds()
    monkeypatch.setattr(sampling, "sample", None)
    written = (tmp_path / "record.json").stat().st_mtime_ns
    again = Analyzer(**pair, folder=tmp_path).vds()
    equal(first, again)
    assert (tmp_path / "record.json").stat().st_mtime_ns == written and str(first) == str(again)


def test_other_settings_do_not_fall_on_a_record(pair, tmp_path):
    Analyzer(**pair, folder=tmp_path).vds()
    other = {**pair, "seed": 1}
    with pytest.raises(RecordError, match="seed"):
        Analyzer(**other, folder=tmp_path).vds()
    assert Analyzer(**other, folder=tmp_path, overwrite=True).vds().header["settings"]["seed"] == 1


def test_another_measurement_has_its_own_folder(pair, tmp_path):
    found = Analyzer(**pair, folder=tmp_path)
    assert found.vds().path == tmp_path and found.angles(**UNITS).path == tmp_path / "angles"
    equal(found.vds(), read_record(tmp_path, "tokens"), "tokens")


def test_two_do_not_write_one_record(pair, tmp_path):
    header = Analyzer(**pair).vds().header
    with open_record(tmp_path, header), pytest.raises(RecordError, match="another"):
        Analyzer(**pair, folder=tmp_path).vds()


def test_a_measurement_shows_itself(analyzer):
    measured = analyzer.angles(**UNITS)
    page = measured._repr_html_()
    assert str(measured).splitlines()[0] in page and "<script" not in page
    assert len(measured.draw().axes) > 0 and measured.draw(scope="language_model") is not None
    assert {"bins", "units", "grams", "tokens"} <= set(dir(measured))
    with pytest.raises(UserError, match="`folder` must be named"):
        measured.save()


def test_a_picture_that_does_not_exist_is_named(analyzer):
    with pytest.raises(UserError, match="no_such_picture"):
        analyzer.vds().draw("no_such_picture")


def test_advice_is_numbers(analyzer):
    advice = analyzer.diagnose(per_bin=2, trial_steps=1, lr=1e-6, shown=0)
    assert isinstance(advice, Advice) and advice.header["settings"]["lr"] == 1e-6
    assert advice.verdict in ("steer", "do not steer", "undecided", "harmful", "nothing to distil")
    assert bool(advice.needs) == (advice.verdict == "undecided")
    assert {type(number) for number in (advice.gamma, advice.lambda_)} <= {float, type(None)}
    if advice.gamma is not None:
        assert f"--gamma {advice.gamma:g}" in advice.command()
    assert advice.reasons["verdict"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"limits": 3}, "`limits` is no option of an analyzer"),
        ({"limit": 0}, "`limit` must be a whole number above 0, got 0"),
        ({"dtype": "int8"}, "`dtype` must be one of auto, float32, .*, got int8"),
        ({"prompts": [{"prompt": "x"}]}, "prompt"),
        ({"prompts": "nowhere.parquet"}, "`prompts`"),
        ({"teacher": "nowhere/at-all"}, "`teacher`"),
        ({"metric": "adam"}, "training.pt"),
        ({"prompts": 3}, "`prompts` must be a file, a name or a list of prompts, got int"),
        ({"rollouts": 7}, "`rollouts` must be a .jsonl or .parquet file or a list of rows, got int"),
        ({"prompts": Path("nowhere.parquet")}, "`prompts`"),
    ],
)
def test_a_wrong_argument_is_one_line(pair, options, complaint):
    with pytest.raises(UserError, match=complaint) as said:
        Analyzer(**{**pair, **options}).vds()
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"scopes": "all"}, "`scopes` is no option of `angles`"),
        ({"per_bin": 0}, "`per_bin` must be a whole number above 0 or all, got 0"),
        ({"scope": "vision"}, "`scope` must be one of all, language_model"),
    ],
)
def test_a_wrong_option_of_a_measurement_is_one_line(analyzer, options, complaint):
    with pytest.raises(UserError, match=complaint) as said:
        analyzer.angles(**options)
    assert "\n" not in str(said.value)


def test_prompts_in_memory_are_those_of_a_file(analyzer, pair, tmp_path):
    prompts = list(analyzer.prompts.values())
    assert [asdict(p) for p in Analyzer(**pair, prompts=prompts).prompts.values()] == [asdict(p) for p in prompts]


def test_the_signature_names_every_option():
    import inspect

    names = inspect.signature(Analyzer).parameters
    assert {"student", "teacher", "prompts", "limit", "bins", "metric", "folder", "rollouts"} <= set(names)
