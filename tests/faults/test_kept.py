"""The short form of `make torture`: each harness in a process of its own, its counts printed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "words",
    [
        ["records", "--cases", "10"],
        ["disk", "--works", "record", "--cases", "6"],
        ["kills", "--works", "record", "--kills", "5"],
    ],
    ids=lambda words: words[0],
)
def test_nothing_is_lost_and_nothing_is_passed_as_right(words, capsys):
    name, *rest = words
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.faults.{name}", *rest], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    with capsys.disabled():
        print(f"\n{done.stdout.rstrip()}")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 3
