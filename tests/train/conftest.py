"""Accelerate keeps one state a process; each test starts without it."""

from collections.abc import Iterator

import pytest
from accelerate.state import AcceleratorState


@pytest.fixture(autouse=True)
def _accelerate_reset() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
