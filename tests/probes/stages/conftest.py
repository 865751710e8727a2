"""The random pair in float64 with a few short responses, their tokens, and the two halves of the prompts."""

import pytest

from probes import Analyzer
from probes.stages import first_order


@pytest.fixture(scope="module")
def analyzer_of(checkpoints):
    """Return an analyzer of the random pair on eight prompts with other options."""

    def made(**options):
        setting = {"dtype": "float64", "limit": 8, "max_response": 5, "bins": 3, "batch": 3}
        return Analyzer(str(checkpoints / "student"), teacher=str(checkpoints / "teacher"), **setting | options)

    return made


@pytest.fixture(scope="module")
def analyzer(analyzer_of):
    return analyzer_of()


@pytest.fixture(scope="module")
def tokens(analyzer):
    return analyzer.tokens


@pytest.fixture(scope="module")
def halves(tokens):
    return first_order.halves(tokens, seed=0)
