"""A probe that was killed between its record and its picture draws it when the same command runs again."""

import pytest

from probes import angles
from records import read_record


@pytest.fixture
def words(checkpoints, tmp_path):
    pair = [str(checkpoints / "student"), "--teacher", str(checkpoints / "teacher"), "--out", str(tmp_path / "out")]
    few = ["--limit", "4", "--max-response", "3", "--bins", "2", "--batch", "2", "--per-bin", "2", "--device", "cpu"]
    return [*pair, *few, "--allow-truncated"]


def test_the_same_command_draws_the_picture_and_drops_the_shards(words, tmp_path, capsys):
    out = tmp_path / "out"
    assert angles.main(words) == 0
    drawn = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".png", ".svg")}
    written = (out / "record.json").read_bytes()
    assert drawn
    for name in drawn:
        (out / name).unlink()
    (out / "angle_bins.png.part").write_bytes(b"torn")
    (out / "pieces").mkdir()
    capsys.readouterr()
    assert angles.main(words) == 0
    assert f"picture: {out / 'angle_bins.png'}" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".png", ".svg")} == drawn
    assert (out / "record.json").read_bytes() == written and not (out / "pieces").exists()
    assert not list(out.glob("*.part"))


def test_other_flags_name_the_command_that_draws(words, tmp_path, capsys):
    assert angles.main(words) == 0
    assert angles.main([*words, "--seed", "5"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "holds a complete record with `settings.seed` 0, not 5: pass `overwrite`" in said
    assert read_record(tmp_path / "out").header["settings"]["seed"] == 0
