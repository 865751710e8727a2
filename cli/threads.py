"""How the threads of the CPU wait; said before torch loads, as they ask once.

By default OpenMP's threads spin while they have nothing to do. Two processes with as many threads as there are cores
then slow each other 10 to 50 times.
"""

import os


def wait_passively() -> None:
    """Let threads sleep while they wait, unless the environment says how they wait."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # GNU's and LLVM's
    os.environ.setdefault("KMP_BLOCKTIME", "0")  # Intel's
