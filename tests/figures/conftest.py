"""A study made up from a seed, read once."""

import pytest

from tests.figures.studies import read_study, write_study


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A record of ten arms and three seeds, with all its tables."""
    return read_study(write_study(tmp_path_factory.mktemp("study") / "record"))


@pytest.fixture(scope="session")
def one_seed(tmp_path_factory):
    """A record of standard and one steered arm, one seed."""
    return read_study(write_study(tmp_path_factory.mktemp("one_seed") / "record", ("standard", "vgs"), (0,)))
