"""Shapes checked, seeds reset, one thread: what every test can rely on."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("geometry", "beartype.beartype")  # before anything imports it

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

# No deadline: a busy machine is no failure. Derandomized: the same examples in every run.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None, max_examples=50)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _seeds_reset() -> Iterator[None]:
    """Start each test from the same seeds and leave the global generators as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


@pytest.fixture
def generator() -> torch.Generator:
    """Return a generator of the test's own."""
    return torch.Generator().manual_seed(0)
