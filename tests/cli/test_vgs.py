"""The command `vgs` in real processes: any folder, any name of a file in it; and the wheel that brings it."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from cli.vgs import COMMANDS

ROOT = Path(__file__).parents[2]
VGS = Path(sysconfig.get_path("scripts")) / "vgs"


def run(*words, cwd, command=(str(VGS),)):
    return subprocess.run([*command, *words], cwd=cwd, capture_output=True, text=True, timeout=240)


@pytest.fixture
def crowded(tmp_path):
    """A folder in which a user has files with the names of our packages; to import one is an error."""
    for name in ("train.py", "probes.py", "records.py", "study.py", "geometry.py"):
        (tmp_path / name).write_text("raise SystemExit('the file of the user was imported')")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/__init__.py").write_text("raise SystemExit('the folder of the user was imported')")
    return tmp_path


def test_a_users_own_files_do_no_harm(crowded, checkpoints):
    pair = (str(checkpoints / "student"), "--teacher", str(checkpoints / "teacher"), "--allow-truncated")
    found = run("vds", *pair, "--limit", "4", "--max-response", "4", "--bins", "2", "--out", "out", cwd=crowded)
    assert found.returncode == 0, found.stderr
    assert (crowded / "out/tokens.parquet").is_file() and (crowded / "out/vds.png").is_file()
    drawn = run("draw", "out", "--out", "pictures", cwd=crowded)
    assert drawn.returncode == 0 and list((crowded / "pictures").glob("*.png")), drawn.stderr


def test_every_command_is_listed_and_known(tmp_path):
    listed = run("--help", cwd=tmp_path).stdout
    for word, (module, text) in COMMANDS.items():
        assert word in listed and text in listed
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file()


@pytest.mark.parametrize("words", [("angels",), ("angles", "--gama", "2"), ("angles", "--per-bin", "none")])
def test_a_wrong_word_is_one_line(tmp_path, words):
    found = run(*words, cwd=tmp_path)
    assert found.returncode == 2 and found.stdout == ""
    (line,) = found.stderr.splitlines()
    assert line.startswith("error: ") and "see vgs" in line


def test_help_names_the_command_as_it_was_typed(tmp_path):
    assert "usage: vgs angles " in run("angles", "--help", cwd=tmp_path).stdout
    module = run("--help", cwd=ROOT, command=(sys.executable, "-m", "probes.angles")).stdout
    assert "usage: python -m probes.angles " in module


def test_the_wheel_works_without_the_repository(tmp_path, checkpoints):
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "runs", "notebooks", "tests"))
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), "."]
    subprocess.run(build, cwd=source, check=True, capture_output=True, timeout=240)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "env", symlinks=True)
    python = tmp_path / "env/bin/python"
    target = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True
    ).stdout.strip()
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=240)
    (Path(target) / "libraries.pth").write_text(_libraries_alone(tmp_path))
    vgs = (str(tmp_path / "env/bin/vgs"),)
    pair = ("--limit", "4", "--max-response", "4", "--bins", "2", "--per-bin", "1", "--allow-truncated", "--out", "out")
    found = run("angles", *pair, cwd=tmp_path, command=vgs)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "out/angle_bins.png").is_file()
    where = run("-c", "import probes, bundled; print(probes.__file__)", cwd=tmp_path, command=(str(python),)).stdout
    assert where.startswith(str(tmp_path / "env"))


def _libraries_alone(folder):
    """Return a folder with links to what is installed beside this project, without the project itself."""
    libraries = folder / "libraries"
    libraries.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if path.suffix != ".pth" and not path.name.startswith("__editable__"):
            (libraries / path.name).symlink_to(path)
    return str(libraries)
