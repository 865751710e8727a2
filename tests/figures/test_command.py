"""The command line that the figures of a study share: pictures where they are asked for, else one line."""

import importlib

import pytest
from PIL import Image

from tests.figures.studies import TABLES, write_study

STUDY = {  # module, a table it needs, an option that no record has
    "loss_dynamics": ("curves", ["--rollouts", "old"], "`rollouts`"),
    "accuracy": ("verdicts", ["--arms", "none"], "`arms`"),
    "training_curves": ("steps", ["--group", "none"], "`group`"),
    "training_norms": ("gradients", ["--scope", "none"], "`scope`"),
    "strength": ("effects", ["--group", "none"], "`group`"),
    "step_time": ("steps", ["--arms", "none"], "`arms`"),
    "tables": ("verdicts", None, ""),
}


def fails_in_a_line(module, argv, capsys):
    """Run a command that must fail; return what it says."""
    assert module.main(argv) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    assert shown.err.startswith(f"{module.__name__}: error: ")
    return shown.err


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A record with no table of a study."""
    return write_study(tmp_path_factory.mktemp("empty") / "record", ("standard",), (0,), drop=TABLES)


@pytest.mark.parametrize("name", STUDY)
def test_faults_are_one_line(name, study, empty, tmp_path, capsys):
    module, (table, argv, message) = importlib.import_module(f"figures.{name}"), STUDY[name]
    assert "python -m study.effects" in fails_in_a_line(module, [str(tmp_path / "nowhere")], capsys)
    assert f"has no table `{table}`" in fails_in_a_line(module, [str(empty)], capsys) or name == "training_curves"
    if argv:
        said = fails_in_a_line(module, [str(study.path), *argv], capsys)
        assert message in said and f"not '{argv[1]}'" in said


@pytest.mark.parametrize("name", sorted(set(STUDY) - {"tables"}))
def test_pictures_are_written_the_same_twice(name, one_seed, tmp_path, capsys):
    module = importlib.import_module(f"figures.{name}")
    for folder in ("one", "two"):
        assert module.main([str(one_seed.path), "--out", str(tmp_path / folder)]) == 0
    first, second = (sorted((tmp_path / folder).iterdir()) for folder in ("one", "two"))
    assert [path.name for path in first][:2] == [f"{name}.png", f"{name}.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert capsys.readouterr().out.split()[: len(first)] == [str(path) for path in first]
    with Image.open(first[0]) as picture:
        assert picture.size[0] == 2000


def test_pictures_stand_beside_the_record_by_default(one_seed, capsys, monkeypatch):
    from figures import command, step_time

    monkeypatch.setattr(command, "save", lambda figure, stem: [stem])
    assert step_time.main([str(one_seed.path)]) == 0
    assert capsys.readouterr().out.strip() == str(one_seed.path / "step_time")


def test_a_file_in_the_way_is_one_line(one_seed, tmp_path, capsys):
    from figures import step_time

    (tmp_path / "file").write_text("")
    assert "file" in fails_in_a_line(step_time, [str(one_seed.path), "--out", str(tmp_path / "file" / "in")], capsys)
