"""Processes in which torchvision is installed, though this environment has the build of torch for CPUs.

The wheel of torchvision lies in a folder of its own (`make` puts it there), so that other processes do not see it. Its
compiled part does not fit the CPU build; `sitecustomize` declares the operators that it would bring.
"""

import os
import sys
from pathlib import Path

WHEEL = Path(sys.prefix) / "torchvision-wheel"
_HERE = Path(__file__).parent


def environment() -> dict[str, str]:
    """Return the variables of a process that finds torchvision, for `subprocess.run(..., env=...)`."""
    assert (WHEEL / "torchvision").is_dir(), f"{WHEEL} holds no torchvision; `make test` installs it"
    paths = [str(_HERE), str(WHEEL), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
