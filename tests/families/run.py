"""Run checks of families: here, or in a process that has torchvision where a family needs it."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.families.build import build, can_build
from tests.families.checks import CHECKS, cell
from tests.families.subject import Subject
from tests.with_torchvision import environment

Cells = dict[str, str]
"""What the table says, by check."""


def results(folder: Path, names: Iterable[str], checks: Iterable[str]) -> dict[str, Cells]:
    """Build families below a folder and return what each check says of each."""
    names, checks = list(names), list(checks)
    here = [name for name in names if can_build(name)]
    build(folder / "here", here)
    found = {name: cells(folder / "here" / name, checks) for name in here}
    return found | in_process(folder / "there", [name for name in names if name not in found], checks)


def cells(folder: Path, checks: Iterable[str]) -> Cells:
    """Return what each check says of the family in a folder."""
    subject = Subject(folder)
    return {check: cell(CHECKS[check], subject) for check in checks}


def in_process(folder: Path, names: Iterable[str], checks: Iterable[str]) -> dict[str, Cells]:
    """Return what `results` does, from one process with torchvision."""
    if not (listed := ",".join(names)):
        return {}
    command = [sys.executable, "-W", "ignore", "-m", "tests.families.run", str(folder), listed, ",".join(checks)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(results(Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3].split(","))))
