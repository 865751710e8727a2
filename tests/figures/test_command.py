"""The command that draws: what belongs to a record, what is asked for by name, else one line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from figures import __main__ as command
from figures.catalogue import PICTURES
from tests.figures.comparisons import changes, examples
from tests.figures.comparisons import write as write_comparison
from tests.figures.drawing import draw, refused
from tests.figures.geometries import write_geometry
from tests.figures.studies import TABLES, write_study

ROOT = Path(__file__).resolve().parents[2]
STUDY = {  # picture, a table it needs, an option that no record has
    "loss_dynamics": ("curves", ("--rollouts", "old"), "`rollouts`"),
    "accuracy": ("verdicts", ("--arms", "none"), "`arms`"),
    "accuracy_by_task": ("verdicts", ("--arms", "none"), "`arms`"),
    "training_curves": ("evaluations", ("--group", "none"), "`group`"),
    "training_norms": ("gradients", ("--scope", "none"), "`scope`"),
    "strength": ("effects", ("--group", "none"), "`group`"),
    "step_time": ("steps", ("--arms", "none"), "`arms`"),
    "tables": ("verdicts", None, ""),
}


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A record with no table of a study."""
    return write_study(tmp_path_factory.mktemp("empty") / "record", ("standard",), (0,), drop=TABLES)


@pytest.mark.parametrize("name", STUDY)
def test_faults_are_one_line(name, study, empty, tmp_path, capsys):
    table, flags, message = STUDY[name]
    assert "python -m study.effects" in refused(capsys, tmp_path / "nowhere", name)
    assert f"has no table `{table}`: `python -m study.effects` writes it" in refused(capsys, empty, name)
    if flags:
        said = refused(capsys, study.path, name, *flags)
        assert message in said and f"not '{flags[1]}'" in said


@pytest.mark.parametrize("name", sorted(set(STUDY) - {"tables"}))
def test_pictures_are_written_the_same_twice(name, one_seed, tmp_path, capsys):
    shown = [draw(capsys, one_seed.path, name, "--out", tmp_path / folder) for folder in ("one", "two")]
    first, second = (sorted((tmp_path / folder).iterdir()) for folder in ("one", "two"))
    assert [path.name for path in first] == [f"{name}.png", f"{name}.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert shown[0] == [str(path) for path in first]
    with Image.open(first[0]) as picture:
        assert picture.size[0] == 1800


@pytest.mark.parametrize(
    ("words", "stem"),
    [
        (("loss_dynamics", "--rollouts", "fixed"), "loss_dynamics-fixed"),
        (("loss_dynamics", "--rollouts", "training", "--window", "3"), "loss_dynamics"),
        (("training_norms", "--scope", "layer_00", "--gamma", "1"), "training_norms-layer_00"),
        (("training_curves", "--group", "low", "--arms", "standard", "vgs"), "training_curves-low"),
    ],
)
def test_choices_stand_in_the_name(words, stem, one_seed, tmp_path, capsys):
    shown = draw(capsys, one_seed.path, *words, "--out", tmp_path)
    assert shown == [str(tmp_path / f"{stem}.png"), str(tmp_path / f"{stem}.svg")]


def test_options_reach_the_picture(one_seed, tmp_path, capsys, monkeypatch):
    from figures import training_norms

    seen, usual = {}, training_norms.draw

    def draw_(record, arms=None, scope="all", gamma=2.0):
        seen.update(arms=arms, scope=scope, gamma=gamma)
        return usual(record, arms, scope, gamma)

    monkeypatch.setattr(training_norms, "draw", draw_)
    draw(capsys, one_seed.path, "training_norms", "--gamma", "1.5", "--arms", "vgs", "--out", tmp_path)
    assert seen == {"arms": ["vgs"], "scope": "all", "gamma": 1.5}


# --- without a name ---


def test_a_study_has_all_its_pictures_drawn(study, tmp_path, capsys):
    shown = draw(capsys, study.path, "--out", tmp_path)
    assert {Path(path).stem for path in shown} == set(STUDY)
    assert {Path(path) for path in shown} == set(tmp_path.iterdir())


def test_a_measurement_has_its_probes_picture_and_the_others_are_named(tmp_path, capsys):
    folder = write_geometry(tmp_path / "record")[0].path
    assert command.main([str(folder)]) == 0
    shown = capsys.readouterr()
    assert shown.out.split() == [str(folder / "angle_bins.png"), str(folder / "angle_bins.svg")]
    others = "language_visual, bin_shares, gradient_plane, ribbon, vds"
    assert shown.err == f"more pictures of this record, drawn by name: {others}\n"


def test_a_picture_that_cannot_be_drawn_is_left_out_unless_it_is_named(tmp_path, capsys):
    folder = write_comparison(tmp_path / "record", changes=changes(), examples=examples()[:0]).path
    assert command.main([str(folder)]) == 0
    shown = capsys.readouterr()
    assert [Path(path).name for path in shown.out.split()] == ["before_after.png", "before_after.svg"]
    assert shown.err.startswith("changed_answers is left out: ") and shown.err.count("\n") == 1
    refused(capsys, folder, "changed_answers")


def test_a_wrong_option_is_no_reason_to_leave_a_picture_out(study, tmp_path, capsys):
    assert command.main([str(study.path), "--out", str(tmp_path), "--group", "none"]) == 2
    assert "error: `group` must be one that" in capsys.readouterr().err


def test_a_record_that_no_picture_belongs_to_is_one_line(empty, capsys):
    said = refused(capsys, empty)
    assert f"no picture belongs to `{empty}`, a record of study: its tables are none" in said


# --- several names, wrong names ---


def test_several_pictures_each_take_their_options(one_seed, tmp_path, capsys):
    words = ("loss_dynamics", "step_time", "--rollouts", "own", "--arms", "vgs")
    shown = draw(capsys, one_seed.path, *words, "--out", tmp_path)
    assert [Path(path).stem for path in shown[::2]] == ["loss_dynamics-own", "step_time"]


def test_an_option_that_no_named_picture_takes_is_one_line(one_seed, capsys):
    said = refused(capsys, one_seed.path, "step_time", "--prior", "attached")
    assert said == "error: `--prior` is an option of sensitivity, forecast, not of step_time\n"


def test_an_unknown_name_is_one_line_with_the_names_there_are(one_seed, capsys):
    said = refused(capsys, one_seed.path, "nothing")
    assert said.startswith("error: `name` must be one of angle_bins, ") and "got 'nothing'" in said


def test_a_folder_without_a_record_is_one_line(tmp_path, capsys):
    assert f"`{tmp_path}` holds no record" in refused(capsys, tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--window", "wide"), "error: `--window` must be a whole number, got wide"),
        (("--responses", "1", "two"), "error: `--responses` must be a whole number, got two"),
        (("--colour", "red"), "error: "),
    ],
)
def test_a_wrong_flag_is_one_line(flags, message, one_seed, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main([str(one_seed.path), *flags])
    shown = capsys.readouterr()
    assert stop.value.code == 2 and shown.out == ""
    assert shown.err.startswith(message) and shown.err.count("\n") == 1


def test_a_file_in_the_way_is_one_line(one_seed, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "file" in refused(capsys, one_seed.path, "step_time", "--out", tmp_path / "file" / "in")
    assert "file" in refused(capsys, one_seed.path, "tables", "--out", tmp_path / "file" / "in")


# --- the help ---


def test_without_arguments_the_pictures_are_listed(capsys):
    assert command.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    for one in PICTURES:
        [line] = [line for line in lines if re.match(rf"  {one.name} ", line)]
        assert line.endswith(f"[{', '.join(one.tables)}]")


def shown_help(*words):
    """What --help prints in a process of its own, and the seconds of processor time that took."""
    begun = os.times()
    call = [sys.executable, *words, "--help"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    ended = os.times()
    seconds = ended.children_user - begun.children_user + ended.children_system - begun.children_system
    return done.stdout, seconds


@pytest.mark.parametrize("module", ["figures", "figures.gallery"])
def test_the_help_is_the_manual_and_quick(module):
    text, seconds = shown_help("-m", module)
    assert text.startswith(f"usage: python -m {module} ") and f"    python -m {module}" in text
    assert seconds < 1.5


def test_the_help_lists_pictures_and_adds_the_manual_of_a_named_one():
    text, _ = shown_help("-m", "figures")
    assert all(f"\n  {one.name} " in text for one in PICTURES)
    assert all(f"--{name}" in text for name in ("scope", "bin", "threshold-deg"))
    text, seconds = shown_help("-m", "figures", "RECORD", "ribbon")
    assert "Records hold no pictures: name the files with `--pictures`" in text and "--responses" in text
    assert seconds < 1.5


def test_the_console_command_draws(one_seed, tmp_path, capsys, monkeypatch):
    from cli import vgs

    monkeypatch.setattr(sys, "argv", ["vgs"])
    assert vgs.main(["draw", str(one_seed.path), "step_time", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "step_time.png").is_file()
    assert vgs.main(["draw"]) == 0
    assert "`vgs draw RECORD [NAME ...]`" in capsys.readouterr().out
