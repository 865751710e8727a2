"""The diagnosis: right verdicts on pairs whose answer is known, and a record and report that hold what was measured.

Models are blinded at their vision tower's output: what remains is that a picture is there. With `--text-view blank`,
where one is there in both views, nothing remains.
"""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from PIL import Image

from probes import Analyzer, diagnose
from probes.diagnosis.trial import is_standard
from records import read_record
from records.tables.diagnosis import TABLES
from tests import models
from train.config import Config
from vlm.checkpoints.pair import load_pair, pair_of

LOSSES_ALONE = {"skip_geometry": True, "skip_forecast": True, "skip_accuracy": True, "shown": 0}
UNTRIED = tuple(name for name in TABLES if name != "trial")
AMOUNTS = (0.0, 0.25, 0.5, 1.0)


@pytest.fixture(scope="module")
def bundled():
    return load_pair("bundled")


def measured(pair, **options):
    """Diagnose a loaded pair in memory, without gradients; returns the tables."""
    analyzer = Analyzer("bundled", **{"limit": 28} | options)
    return analyzer.having(pair=pair, teacher=pair.teacher).diagnose(**LOSSES_ALONE).tables


@contextmanager
def seeing(member, change):
    """Let `change` have the features that leave the vision tower."""

    def hook(module, inputs, output):
        for name, value in output.items():
            output[name] = change(value) if isinstance(value, torch.Tensor) else [change(one) for one in value]
        return output

    handle = member.model.model.visual.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def mixed(amount):
    """Features with noise mixed in, the same noise for every picture."""

    def change(features):
        noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(0)).to(features)
        return (1 - amount) * features + amount * (noise * features.std() + features.mean())

    return change


def recommended(tables):
    rows = tables["recommendation"]
    return dict(zip(rows["setting"], rows["choice"], strict=True)), dict(
        zip(rows["setting"], rows["reason"], strict=True)
    )


def value(tables, question, measure):
    rows = tables["findings"]
    [found] = rows.loc[(rows["question"] == question) & (rows["measure"] == measure), "value"]
    return found


def gamma(tables):
    """What the rule says, before any step is tried."""
    return value(tables, "how hard to steer", "gamma by the rule")


def test_a_blind_teacher_of_a_seeing_student_is_harmful(bundled):
    """Steering would teach the student not to look: the visual loss is its own dependence, exactly."""
    with seeing(bundled.teacher, torch.zeros_like), seeing(bundled.student, lambda features: features):
        tables = measured(bundled, text_view="blank")
    choice, reason = recommended(tables)
    assert choice["verdict"] == "harmful" and choice["objective"] == "standard" and choice["gamma"] == "-"
    assert "stop looking" in reason["verdict"]
    tokens = tables["tokens"]
    assert tokens["vds_nats"].max() < 1e-6 and tokens["student_vds_nats"].mean() > 0.01
    np.testing.assert_allclose(tokens["kl_visual_nats"], tokens["student_vds_nats"], atol=1e-5)


def test_a_teacher_that_sees_only_that_there_is_a_picture(bundled):
    with seeing(bundled.teacher, torch.zeros_like):
        tables = measured(bundled)
    choice, reason = recommended(tables)
    assert tables["tokens"]["vds_nats"].mean() > 0.005 and tables["content"]["teacher_nats"].max() < 1e-6
    assert choice["verdict"] == "harmful" and "presence of a picture only" in reason["verdict"]
    assert choice["objective"] == "standard" and choice["gamma"] == "-" and gamma(tables) < 1e-6
    sees = tables["findings"].query("question == 'does the teacher see'")
    assert sees["verdict"].iloc[0] == "presence only"


def test_neither_looks(bundled):
    with seeing(bundled.teacher, torch.zeros_like), seeing(bundled.student, torch.zeros_like):
        choice, reason = recommended(measured(bundled))
    assert choice["verdict"] == "do not steer" and "presence of a picture only" in reason["verdict"]


def test_a_teacher_that_is_the_student_has_nothing_to_teach(bundled):
    choice, _ = recommended(measured(pair_of(bundled.student, bundled.student)))
    assert choice["verdict"] == "nothing to distil" and choice["objective"] == "none" and "command" not in choice
    bundled.student.model.requires_grad_(True)  # a teacher is frozen


def test_a_blind_student_may_be_steered_and_a_trial_has_to_say(bundled):
    with seeing(bundled.student, torch.zeros_like):
        tables = measured(bundled)
    choice, reason = recommended(tables)
    assert choice["verdict"] == "undecided" and choice["objective"] == "standard"
    assert "hardly looks" in reason["verdict"] and reason["verdict"].startswith("needs about 16 steps: no step was ")
    assert (
        choice["command"].startswith("python -m probes.diagnose bundled ")
        and "--skip-forecast" not in choice["command"]
    )
    rows = tables["findings"].query("question == 'what was not asked'").set_index("measure")["reason"]
    assert rows["what real steps do"].startswith("`--skip-forecast`: no setting was tried")
    assert rows["accuracy with and without the picture"] == "`--skip-accuracy`" and len(rows) == 4


@pytest.mark.parametrize("side", ["teacher", "student"])
def test_noise_in_what_a_model_sees(bundled, side):
    """A teacher that sees less is followed less; a student that sees less is steered more."""
    series = []
    for amount in AMOUNTS:
        with seeing(getattr(bundled, side), mixed(amount)) if amount else nullcontext():
            series.append(measured(bundled))
    gammas = [gamma(tables) for tables in series]
    if side == "teacher":
        vds = [value(tables, "does the teacher see", "VDS, mean") for tables in series]
        assert all(np.diff(vds) < 0) and all(np.diff(gammas) < 0)
    else:
        visual = [value(tables, "where the gap lies", "visual loss, mean") for tables in series]
        assert all(np.diff(visual) > 0) and all(np.diff(gammas) > 0)
    assert abs(gammas[-1] - gammas[0]) >= 0.4


def test_pictures_of_a_size_of_their_own_have_no_partner(bundled, tmp_path):
    sizes = {"a": (48, 48), "b": (48, 48), "c": (72, 48), "d": (48, 48)}
    shades = {"a": 10, "b": 200, "c": 90, "d": 10}  # d shows what a shows
    for name, size in sizes.items():
        Image.new("RGB", size, (shades[name],) * 3).save(tmp_path / f"{name}.png")
    lines = [f'{{"problem": "what colour is the shape?", "id": "{n}", "images": ["{n}.png"]}}' for n in sizes]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    tables = measured(bundled, prompts=str(tmp_path / "rows.jsonl"))
    pairs = tables["content"].groupby("prompt_id")["partner_id"].first().to_dict()
    assert pairs == {"a": "b", "b": "d", "d": "b"}
    reasons = tables["findings"]["reason"]
    assert reasons.str.contains("for 3 of 4 prompts with a picture; 1 had no partner").any()


def test_without_any_partner_the_dependencies_decide(bundled, tmp_path):
    Image.new("RGB", (48, 48), "red").save(tmp_path / "a.png")
    (tmp_path / "rows.jsonl").write_text('{"problem": "what colour is the shape?", "images": ["a.png"]}')
    tables = measured(bundled, prompts=str(tmp_path / "rows.jsonl"))
    assert tables["content"].empty
    means = tables["tokens"][["vds_nats", "student_vds_nats"]].mean()
    share = value(tables, "how hard to steer", "the teacher's share of the looking")
    assert share == pytest.approx(means["vds_nats"] / means.sum())


def test_the_whole_of_it(flags, tmp_path, capsys):
    """On the random pair: every table, the report, and the same numbers as the probes it is made of."""
    out = tmp_path / "record"
    argv = [*flags, "--per-bin", "2", "--precision-check", "3", "--trial-steps", "4", "--shown", "2"]
    assert diagnose.main([*argv, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "Does the teacher see" in said and "verdict: " in said and f"picture: {out / 'report.html'}" in said
    tables = read_record(out, "units", "bins", "layers", "readings", "precision", *TABLES).tables
    assert set(tables["bins"]["scope"]) == {"all", "language_model"} and len(tables["pictures"]) == 2
    questions = list(tables["findings"]["question"].unique())
    assert questions[0] == "do the two fit" and questions[-1] == "what a full run would cost" and len(questions) == 13
    page = (out / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == 2 and page.count("data:image/svg+xml") >= 3
    assert list(tables["recommendation"]["setting"][:5]) == ["verdict", "objective", "gamma", "lambda", "prior"]
    trial = tables["trial"]
    assert is_standard(trial).sum() == 6 and set(trial["steps"]) == {4} and set(trial["lr"]) == {3e-4}
    assert "what 4 real steps at rate 0.0003 do" in questions and "Steps that were tried" in page
    choice, _ = recommended(tables)
    tried = trial.loc[~is_standard(trial), "verdict"]
    assert (choice["verdict"] == "undecided") == ("passes" not in set(tried) and "undecided" in set(tried))
    assert choice["command"].startswith(
        f"python -m {'probes.diagnose' if choice['verdict'] == 'undecided' else 'train'}"
    )
    answers = tables["picture_answers"]
    assert answers.groupby(["side", "with_picture"]).size().nunique() == 1 and len(answers) % 4 == 0
    findings = tables["findings"]
    assert list(findings.loc[findings["question"] == "how often are they right", "measure"]) == [
        f"{side}, {view} the picture" for side in ("teacher", "student") for view in ("with", "without")
    ]
    [steered] = findings.loc[findings["measure"].str.startswith("angle between standard and"), "value"]
    assert 0.0 < steered < 90.0


def test_the_default_rate_is_that_of_training():
    assert diagnose.DiagnosisOptions().lr == Config.lr


def test_without_trial_steps_none_is_tried(flags, tmp_path):
    out = tmp_path / "record"
    argv = [*flags, "--skip-geometry", "--trial-steps", "0", "--shown", "0", "--out", str(out)]
    assert diagnose.main(argv) == 0
    record = read_record(out, "findings", "recommendation", "readings")
    assert "trial" not in record.record["tables"]
    assert not record.tables["findings"]["question"].str.contains("real steps").any()
    assert "`--trial-steps 0`: no setting was tried" in set(record.tables["findings"]["reason"])


def test_steps_that_sixteen_bits_would_lose_are_not_tried(flags, tmp_path, capsys):
    out = tmp_path / "record"
    argv = [*flags, "--skip-geometry", "--dtype", "bfloat16", "--shown", "1", "--out", str(out)]
    assert diagnose.main(argv) == 0
    assert "note: no step is tried: 16-bit weights lose small ones" in capsys.readouterr().err
    record = read_record(out, "findings")
    assert "trial" not in record.record["tables"]
    said = "16-bit weights lose small ones; add --dtype float32: no setting was tried"
    assert said in set(record.tables["findings"]["reason"]) and said in (out / "report.html").read_text()


def test_gradients_that_are_zero_are_no_obstacle(flags, tmp_path):
    """Of a teacher that is the student no angle, no forecast and no share is known, and the report says so."""
    out = tmp_path / "record"
    argv = [flags[0], "--teacher", flags[0], *flags[3:], "--per-bin", "2", "--out", str(out)]
    assert diagnose.main(argv) == 0
    tables = read_record(out, "bins", *UNTRIED).tables
    assert recommended(tables)[0]["verdict"] == "nothing to distil"
    assert (out / "report.html").is_file()


def test_tokenizers_that_differ_are_refused(checkpoints, flags, tmp_path, capsys):
    other = models.copy_of(checkpoints / "student", tmp_path / "other")
    path = other / "tokenizer.json"
    path.write_text(path.read_text().replace('"colour":', '"color":'))
    argv = [str(other), *flags[1:], "--out", str(tmp_path / "record")]
    assert diagnose.main(argv) == 2
    said = capsys.readouterr()
    assert "the tokenizers must agree, but `vocab` differs at" in said.err and said.err.count("\n") == 1
    assert said.out == "" and not (tmp_path / "record").exists()


@pytest.mark.parametrize(("change", "refused"), [(torch.sinh, True), (lambda x: 0.5 * x, False)], ids=["odd", "scaled"])
def test_says_what_training_would_refuse(change, refused):
    pair = load_pair("bundled")

    def changed(module, inputs, output):
        output.logits = change(output.logits)

    pair.student.model.register_forward_hook(changed)
    rows = measured(pair)["findings"].query("question == 'do the two fit' and verdict == 'refused'")
    assert list(rows["measure"]) == ["training with this student"] * refused
    assert not refused or "one linear map of its last hidden state" in rows["reason"].iloc[0]
