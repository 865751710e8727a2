"""The suite at a fraction of its size: made once, whole or not at all, and every pair is what its name says."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from bundled.prompts import group_prompts
from cli.errors import OptionError
from geometry import decompose
from records import RecordError
from study.suite import build, cards, designs, suite
from study.suite.__main__ import main
from study.suite.build import Builder
from study.suite.examples import Examples
from study.suite.practice import Practice
from study.suite.stages import STAGE, made
from vlm.checkpoints.pair import load_pair
from vlm.responses.rollouts import Rollout
from vlm.responses.scoring import score
from vlm.views.view import view_pairs

TINY = Practice(Examples(withheld=0.5), steps=1, rate=1e-2, batch=2)
PAIRS = {
    "both": designs.Branch("two gaps", designs.BOTH, TINY, 0.3),
    "small": designs.Branch("fewer layers", designs.BOTH, TINY, 0.3, layers=(1,)),
}
GRID = {"grid-v0-l0": designs.GridPoint(0.3, 0.0), "grid-v0-l1": designs.GridPoint(0.3, 1.0)}


@pytest.fixture(scope="module")
def tiny(checkpoints):
    """Let the suite begin from the random student, with steps and cards that take a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "STUDENT", checkpoints / "student")
        for name in ("ANCESTOR", "TEACHER", "GRID_LANGUAGE"):
            patch.setattr(designs, name, TINY)
        patch.setattr(suite, "PAIRS", PAIRS)
        patch.setattr(suite, "GRID", GRID)
        for name, value in {"GAP_PROMPTS": 4, "ANSWERS": 10, "ANGLE_PROMPTS": 4, "PER_BIN": 1}.items():
            patch.setattr(cards, name, value)
        yield


@pytest.fixture(scope="module")
def out(tiny, tmp_path_factory):
    """The whole suite."""
    folder = tmp_path_factory.mktemp("suite")
    suite.make(folder, list(PAIRS), grid=True)
    return folder


def weights_of(folder):
    return {path.parent: path.read_bytes() for path in sorted(folder.rglob("model.safetensors"))}


def losses_of(student):
    """Return the losses of some tokens under a prompt with a picture."""
    pair = load_pair(str(student))
    [prompt] = group_prompts("high", 1, seed=0)
    [views] = score(pair, view_pairs([prompt], "drop"), [Rollout(prompt.prompt_id, 0, (9, 10, 11, 12), "", False)])
    return decompose(views)


def test_every_student_names_the_teacher(out):
    for name in (*PAIRS, *GRID):
        pair = load_pair(str(out / name / "student"))
        assert pair.teacher.fingerprint == json.loads((out / "cards" / "teacher.json").read_text())["weights_of_model"]


def test_a_point_whose_language_is_not_moved_has_a_language_gap_of_zero(out):
    still, moved = (losses_of(out / f"grid-v0-l{level}" / "student") for level in (0, 1))
    assert not still.language.any() and still.visual.min() > 0
    torch.testing.assert_close(still.visual, still.standard, atol=1e-6, rtol=1e-4)
    assert moved.language.min() > 0


def test_a_small_student_has_fewer_layers(out):
    counts = [
        load_pair(str(out / name / "student")).student.model.config.text_config.num_hidden_layers for name in PAIRS
    ]
    assert counts == [2, 1]


def test_the_cards_say_what_was_measured(out):
    card = json.loads((out / "cards" / "both.json").read_text())
    assert set(card["gaps"]) == set(cards.ROWS) and len(card["angles"]) == 10
    whole, top = card["gaps"]["all"], card["gaps"]["bins 7-9"]
    assert whole["tokens"] > top["tokens"] == sum(card["gaps"][f"bin {number}"]["tokens"] for number in (7, 8, 9))
    assert card["weights"]["spread"] > 0 and card["weights"]["distance"] > 0
    assert json.loads((out / "cards" / "small.json").read_text())["weights"]["distance"] is None
    point = json.loads((out / "cards" / "grid-v0-l0.json").read_text())
    assert point["gaps"]["all"]["language"] == 0.0
    page = (out / "cards" / "README.md").read_text()
    assert (
        all(f"| {name} |" in page for name in (*PAIRS, *GRID))
        and "--lr 0.0001 --batch 32" in page
        and "--steps 48" in page
    )


def test_what_is_complete_is_not_made_or_measured_again(out, monkeypatch):
    for module, name in ((build, "practise"), (cards, "Analyzer")):
        monkeypatch.setattr(module, name, None)
    before, page = weights_of(out), (out / "cards" / "README.md").read_text()
    suite.make(out, list(PAIRS), grid=True)
    assert weights_of(out) == before and (out / "cards" / "README.md").read_text() == page


class Killed(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_suite_that_was_killed_goes_on_to_the_same_weights(out, tmp_path, monkeypatch, stage):
    whole, calls = build.practise, []

    def dying(*values):
        calls.append(values)
        if len(calls) == stage:
            raise Killed
        return whole(*values)

    monkeypatch.setattr(build, "practise", dying)
    with pytest.raises(Killed):
        begun(tmp_path)
    assert len(list(tmp_path.rglob("*.part"))) == 1
    begun(tmp_path)
    assert len(calls) == 4 and not list(tmp_path.rglob("*.part"))
    for folder in ("ancestor", "teacher", "both/student"):
        assert weights_of(tmp_path)[tmp_path / folder] == weights_of(out)[out / folder]


def begun(folder):
    builder = Builder(folder)
    builder.base()
    builder.pair("both", PAIRS["both"])


def test_another_recipe_is_refused(out, tmp_path):
    shutil.copytree(out, tmp_path / "suite")
    with pytest.raises(RecordError, match=r"`vision_noise` 0.3, not 0.4: remove .*both/student"):
        Builder(tmp_path / "suite").pair("both", replace(PAIRS["both"], vision_noise=0.4))


def test_changed_weights_are_measured_again(out, tmp_path, monkeypatch):
    shutil.copy(out / "cards" / "grid-v0-l0.json", tmp_path / "card.json")
    measured = []
    monkeypatch.setattr(cards, "gaps", lambda student: measured.append(student) or {})
    monkeypatch.setattr(cards, "accuracies", lambda student: {})
    for name in ("grid-v0-l0", "grid-v0-l1"):
        cards.point_card(tmp_path / "card.json", out / name / "student", GRID["grid-v0-l0"])
    assert measured == [out / "grid-v0-l1" / "student"]


def test_a_stage_is_whole_or_not_there(tmp_path):
    def broken(part):
        (part / "half").touch()
        raise Killed

    with pytest.raises(Killed):
        made(tmp_path / "stage", {"a": 1}, broken)
    assert not (tmp_path / "stage").exists()
    assert made(tmp_path / "stage", {"a": 1}, lambda part: (part / "whole").touch())
    assert {path.name for path in (tmp_path / "stage").iterdir()} == {"whole", STAGE}
    assert not made(tmp_path / "stage", {"a": 1}, broken)


def test_an_unknown_pair_is_one_line(tiny, tmp_path, capsys):
    with pytest.raises(OptionError, match="`pairs` must be of both, small, got 'none'"):
        suite.make(tmp_path, ["none"])
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), "--pairs", "none"])
    assert capsys.readouterr().err.count("\n") == 1


def test_runs_keep_within_the_published_regime():
    spread = 0.098  # of the bundled student, from which all begin
    assert designs.RATE * designs.STEPS / spread <= 0.05
