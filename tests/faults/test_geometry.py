"""Every public function of `geometry` and `stats` meets hostile inputs: each is right, nan by rule, or refused."""

import pytest
import torch

from tests.faults.geometry_fuzz import public_names
from tests.faults.judging import CASES, Tally

SHORT, LONG = 40, 1500
EACH = list(dict.fromkeys(fuzz for fuzzes in CASES.values() for fuzz in fuzzes))


@pytest.mark.parametrize("package", ["geometry", "stats"])
def test_every_public_name_has_a_case(package: str) -> None:
    names = public_names(package)
    assert len(names) > 10 and sorted(set(names) - set(CASES)) == []


@pytest.mark.parametrize("fuzz", EACH, ids=lambda fuzz: fuzz.__name__)
def test_hostile_inputs(fuzz) -> None:
    _run(fuzz, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("fuzz", EACH, ids=lambda fuzz: fuzz.__name__)
def test_many_hostile_inputs(fuzz) -> None:
    _run(fuzz, LONG, seed=1)


def _run(fuzz, rounds: int, seed: int = 0) -> None:
    torch.use_deterministic_algorithms(False)  # as a user's program runs
    try:
        tally = Tally()
        tally.run(fuzz, rounds, seed)
    finally:
        torch.use_deterministic_algorithms(True)
    print(*tally.lines()[:-1])
    assert sum(tally.counts.values()) == rounds
