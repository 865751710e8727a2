"""Processes that are started together, as a launcher starts them."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it printed."""

    code: int
    out: str
    err: str


def together(n: int, *words: str, environment: Mapping[str, str] | None = None) -> list[Ended]:
    """Run `python WORDS` in `n` processes of one thread that know of each other; return how each ended, by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = os.environ | {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()} | dict(environment or {})
    running = [
        subprocess.Popen(
            [sys.executable, *words],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(n)
    ]
    try:
        printed = [process.communicate(timeout=600) for process in running]
    finally:
        for process in running:
            process.kill()
    return [Ended(process.returncode, *words) for process, words in zip(running, printed, strict=True)]


def accelerate_launch(n: int, *words: str) -> Ended:
    """Run `python -m WORDS` in `n` processes of one thread that accelerate starts; return how the launcher ended."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(n)]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run([*command, "-m", *words], env=environment, capture_output=True, text=True, timeout=600)
    return Ended(done.returncode, done.stdout, done.stderr)
