"""Every function and test that docs/equations.md names is there."""

import re
from pathlib import Path

import geometry
import stats

ROOT = Path(__file__).parents[2]
ROWS = [line for line in (ROOT / "docs/equations.md").read_text().splitlines() if line.startswith("| ")]


def cells(place):
    return [row.split(" | ")[place] for row in ROWS]


def test_every_test_exists():
    found, path = 0, ROOT
    for cell in cells(-1):
        for file, name in re.findall(r"`(\S*\.py)?(?:::(test_\w+))?`", cell):
            if file:  # a test without one is of the file before it
                path = ROOT / file if "/" in file else ROOT / "tests/geometry" / file
            assert path.is_file(), cell
            assert not name or f"def {name}(" in path.read_text(), cell
            found += 1
    assert found > 30


def test_every_function_exists():
    names = {name for cell in cells(-2) for name in re.findall(r"`([A-Za-z_]\w+)", cell)}
    lacking = {name for name in names if not hasattr(geometry, name) and not hasattr(stats, name)}
    assert len(names) > 20 and not lacking
