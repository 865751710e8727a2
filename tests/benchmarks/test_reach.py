"""The benchmark of reach measures the process that it started, at its peak."""

import subprocess
import sys

import pytest

from tests.benchmarks.reach import measured


def test_the_peak_is_that_of_the_process(tmp_path):
    """Memory that was given back before the end counts."""
    program = "import time; held = bytearray(300 << 20); time.sleep(0.3); del held; time.sleep(0.3)"
    peak_gb, seconds = measured([sys.executable, "-c", program], tmp_path / "log")
    assert 0.31 < peak_gb < 0.36 and seconds > 0.6


def test_what_fails_is_not_measured(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as caught:
        measured([sys.executable, "-c", "raise SystemExit('no room')"], tmp_path / "log")
    assert "no room" in caught.value.output
