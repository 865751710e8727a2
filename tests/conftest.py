"""Shapes checked, seeds reset, one thread: what every test can rely on."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

from vlm.responses import truncation

os.environ["HF_HUB_OFFLINE"] = "1"  # no test reaches for the network; read when the hub's client is imported

install_import_hook("geometry", "beartype.beartype")  # before anything imports it

truncation.REFUSED = 1.0  # random models seldom end a response; what tests the limit sets it back

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

# No deadline: a busy machine is no failure. Derandomized: the same examples in every run.
# EXAMPLES: how many of them, for a property without a number of its own.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, database=None, max_examples=int(os.environ.get("EXAMPLES", "25"))
)
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


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two random checkpoints, `student` and `teacher`, of the bundled pair's architecture."""
    from tests import models  # here, so that tests without a model need no model library

    folder = tmp_path_factory.mktemp("checkpoints")
    models.write_checkpoint(folder / "student", models.STUDENT, seed=1)
    models.write_checkpoint(folder / "teacher", models.TEACHER, seed=2)
    return folder


@pytest.fixture(scope="session")
def pair(checkpoints: Path):
    """Return the random pair, loaded."""
    from tests import models

    return models.load(checkpoints)
