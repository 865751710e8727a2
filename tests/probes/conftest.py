"""Probes run in this process on the random pair, a few short responses at a time."""

import pytest

from probes import angles

SHORT = ("--limit", "8", "--max-response", "5", "--bins", "3")


@pytest.fixture(scope="session")
def flags(checkpoints):
    """The random pair and a small setting, as flags."""
    return [str(checkpoints / "student"), "--teacher", str(checkpoints / "teacher"), *SHORT]


@pytest.fixture(scope="session")
def angles_record(flags, tmp_path_factory):
    """A record of `probes.angles` in float64: four units a bin."""
    out = tmp_path_factory.mktemp("records") / "angles"
    assert angles.main([*flags, "--dtype", "float64", "--per-bin", "4", "--out", str(out)]) == 0
    return out


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in an empty folder, where default records would stand."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
