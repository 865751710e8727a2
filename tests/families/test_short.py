"""Every family loads, has two views, and gives the logits of single forward passes; `make test-all` checks the rest."""

import pytest

from tests.families.build import can_build
from tests.families.checks import SHORT
from tests.families.registry import FAMILIES
from tests.families.run import in_process, results

HERE = [name for name in FAMILIES if can_build(name)]
ELSEWHERE = [name for name in FAMILIES if not can_build(name)]


def assert_as_stated(name, found):
    """Every check passes, or all are refused with the reason that the family is registered with."""
    stated = FAMILIES[name].refused
    for check, said in found.items():
        assert not said.startswith("FAILED"), (name, check, said)
        assert said.startswith("refused: ") == bool(stated) and stated in said, (name, check, said)


@pytest.mark.parametrize("name", HERE)
def test_a_family_loads_and_is_scored(name, tmp_path):
    assert_as_stated(name, results(tmp_path, [name], SHORT)[name])


@pytest.mark.skipif(not ELSEWHERE, reason="all families are built here")
def test_so_do_those_that_need_torchvision(tmp_path):
    for name, found in in_process(tmp_path, ELSEWHERE, SHORT).items():
        assert_as_stated(name, found)
