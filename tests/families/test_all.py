"""All checks of all families; slow, and left to `make test-all`."""

import pytest

from tests.families.checks import CHECKS, SHORT
from tests.families.registry import FAMILIES
from tests.families.run import results

REST = [check for check in CHECKS if check not in SHORT]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_measured_and_trained(name, tmp_path):
    for check, said in results(tmp_path, [name], REST)[name].items():
        assert not said.startswith("FAILED"), (check, said)
