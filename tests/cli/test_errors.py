"""How a command ends: its exit code, and one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.errors import NotWritten, OptionError, Stopped, exit_code
from cli.options import Parser
from cli.refused_writes import reason_not_written
from cli.signals import Interrupted
from probes import angles, command

ROOT = Path(__file__).resolve().parents[2]


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OptionError("`x` must be 1"), 2, "error: `x` must be 1"),
        (Stopped("no more"), 1, "stopped: no more"),
        (NotWritten("cannot write `a`"), 1, "stopped: cannot write `a`"),
        (
            OSError(28, "No space left on device", "a"),
            1,
            "stopped: cannot write `a` (No space left on device): mend that and run the same command again",
        ),
        (
            OSError(27, "File too large"),
            1,
            "stopped: cannot write (File too large): mend that and run the same command again",
        ),
        (
            FileNotFoundError(2, "No such file or directory", "a"),
            2,
            "error: cannot use `a` (No such file or directory): choose another path",
        ),
        (KeyboardInterrupt(), 130, "stopped: Ctrl-C; the same command goes on from what is written"),
        (Interrupted(signal.SIGTERM, "go on"), 143, "stopped: SIGTERM; go on"),
    ],
)
def test_each_ending_is_one_line(capsys, error, code, said):
    assert exit_code(raising(error)) == code
    assert capsys.readouterr().err == f"{said}\n"


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("x"), OSError(9, "Bad file descriptor"), KeyError("x")]
)
def test_a_fault_of_the_program_is_raised(error):
    with pytest.raises(type(error)):
        exit_code(raising(error))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
            "torch could not write",
        ),
        (ValueError("Error while serializing: I/O error: File too large (os error 27)"), "File too large"),
        (OSError(28, "x"), "No space left on device"),
        (OSError(30, "x"), "Read-only file system"),
        (OSError(2, "x"), None),
        (ValueError("error"), None),
    ],
)
def test_why_something_was_not_written(error, reason):
    assert (reason_not_written(error) or "").startswith(reason or "") and (reason is None) == (
        reason_not_written(error) is None
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_in_one_line(number, code):
    program = "import signal, sys, time; from cli.errors import exit_code\n"
    program += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background ignores it
    program += "print('ready', flush=True); sys.exit(exit_code(lambda: time.sleep(60)))"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # until `exit_code` has set its handler
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code and said.count("\n") == 1 and said.startswith("stopped: ")


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (Interrupted(signal.SIGTERM), 143)])
def test_a_signal_while_flags_are_read_is_one_line(capsys, error, code):
    parser = Parser("x", None)
    parser.add_argument("--size", type=lambda text: raising(error)())
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--size", "1"])
    assert end.value.code == code and capsys.readouterr().err.startswith("stopped: ")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_before_flags_are_read_ends_a_probe_in_one_line(capsys, monkeypatch):
    monkeypatch.setattr(command, "parser_for", lambda *_, **__: raising(Interrupted(signal.SIGTERM))())
    assert command.run(angles.PROBE, None, []) == 143
    assert capsys.readouterr().err == "stopped: SIGTERM; the same command goes on from what is written\n"


def test_a_reader_that_has_ended_is_one_line():
    program = "import sys; from cli.errors import exit_code; sys.exit(exit_code(lambda: print('x' * 1_000_000)))"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    assert process.wait(30) == 1 and said == "stopped: whatever read the output has ended\n"


def test_an_output_on_a_full_disk_is_one_line():
    program = "import sys; from cli.errors import exit_code; sys.exit(exit_code(lambda: print('x')))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, env=os.environ
        )
    assert done.returncode == 1
    assert done.stderr == "stopped: cannot write (No space left on device): mend that and run the same command again\n"
