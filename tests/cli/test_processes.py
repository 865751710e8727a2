"""What the environment says of processes and threads."""

import os
import subprocess
import sys

import pytest

from cli import processes
from cli.errors import OptionError, exit_code


def test_without_a_launcher_this_is_the_only_process(monkeypatch, capsys):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (processes.rank(), processes.count()) == (0, 1)
    with processes.only_main_speaks():
        print("heard")
    assert capsys.readouterr().out == "heard\n"


def test_only_the_main_process_speaks(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (processes.rank(), processes.count()) == (1, 2)
    with processes.only_main_speaks():
        print("out")
        print("err", file=sys.stderr)
    assert capsys.readouterr() == ("", "")


def test_a_single_process_of_several_asked_for_is_refused(monkeypatch):
    for name in ("WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    processes.refuse_single_process()
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(OptionError, match="--multi_gpu"):
        processes.refuse_single_process()
    monkeypatch.setenv("WORLD_SIZE", "2")
    processes.refuse_single_process()


def test_a_command_lets_threads_wait_passively_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert exit_code(lambda: None) == 0
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    exit_code(lambda: None)
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_openmp_of_a_command_waits_as_the_command_says():
    """The library prints what it has read when it loads."""
    code = "from cli.errors import exit_code; exit_code(lambda: __import__('torch'))"
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | {"OMP_DISPLAY_ENV": "TRUE"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in said.stderr
