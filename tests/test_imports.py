"""Who may import whom, read from the source."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODEL_LIBRARIES = {"transformers", "accelerate"}

FLOORS = (("cli", "geometry", "stats"), ("vlm", "records"), ("bundled",), ("figures",), ("probes", "train"), ("study",))
"""Our packages from the ground up; one imports from the floors below its own, and from itself."""
OURS = {package for floor in FLOORS for package in floor}

LIBRARIES = {  # what a package must not know
    "cli": MODEL_LIBRARIES | {"torch", "pandas"},
    "geometry": MODEL_LIBRARIES,
    "stats": MODEL_LIBRARIES | {"torch", "pandas"},
    "vlm": {"pandas"},
    "records": MODEL_LIBRARIES | {"torch"},
    "figures": MODEL_LIBRARIES | {"torch"},
    "probes": MODEL_LIBRARIES,
    "study": MODEL_LIBRARIES,
}
FORBIDDEN = {
    package: {other for floor in FLOORS[level:] for other in floor if other != package} | LIBRARIES.get(package, set())
    for level, floor in enumerate(FLOORS)
    for package in floor
}


def imports(source: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the module of every absolute import in a file, wherever in the file it stands."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module


def violations(root: Path) -> list[str]:
    """Name every forbidden import under `root` as `file:line: package imports module`."""
    return [
        f"{source.relative_to(root)}:{line}: {package} must not import {module}"
        for package, forbidden in FORBIDDEN.items()
        for source in sorted((root / package).rglob("*.py"))
        for line, module in imports(source)
        if module.split(".")[0] in forbidden
    ]


def test_our_packages_keep_the_order():
    assert violations(ROOT) == []


def arrows(root: Path) -> dict[str, set[str]]:
    """Return for each of our modules those of ours that it imports, for types and inside functions too."""
    sources = {
        ".".join(path.relative_to(root).with_suffix("").parts): path
        for name in OURS
        for path in (root / name).rglob("*.py")
    }
    return {
        module: {
            name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
            if name in sources
        }
        for module, path in sources.items()
    }


def circle(graph: dict[str, set[str]]) -> tuple[str, ...]:
    """Return modules that import each other in a circle; none if there is no such circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return tuple(error.args[1])
    return ()


def test_no_modules_import_each_other():
    graph = arrows(ROOT)
    assert len(graph) > 150 and circle(graph) == ()
    assert set(circle(graph | {"geometry.gram": {"geometry.null_distribution"}})) == {
        "geometry.gram",
        "geometry.null_distribution",
    }


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("geometry/gram.py", "import transformers"),
        ("geometry/gram.py", "from vlm.checkpoints.pair import Pair"),
        ("vlm/checkpoints/pair.py", "import pandas as pd"),
        ("bundled/train.py", "from figures import style"),
        ("records/writing.py", "from torch import Tensor"),
        ("records/writing.py", "from vlm import pair"),
        ("records/writing.py", "import figures"),
        ("figures/panels.py", "import torch.nn as nn"),
        ("figures/panels.py", "from probes import angles"),
        ("probes/angles.py", "from transformers import AutoProcessor"),
        ("probes/angles.py", "import train.step"),
        ("train/loop.py", "from probes import angles"),
    ],
)
def test_a_violation_is_found_and_named(tmp_path, source, line):
    file = tmp_path / source
    file.parent.mkdir(parents=True)
    file.write_text(f"import math\n\ndef late():\n    {line}\n")
    [found] = violations(tmp_path)
    module = line.split()[1]
    assert found == f"{source}:4: {source.split('/')[0]} must not import {module}"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("geometry/gram.py", "import torch"),
        ("vlm/checkpoints/pair.py", "from transformers import AutoProcessor"),
        ("bundled/train.py", "from ..views import text_view"),
        ("figures/panels.py", "from records import read_record"),
        ("probes/angles.py", "from figures import angle_bins"),
        ("train/step.py", "from accelerate import Accelerator"),
    ],
)
def test_what_is_allowed_passes(tmp_path, source, line):
    file = tmp_path / source
    file.parent.mkdir(parents=True)
    file.write_text(line + "\n")
    assert violations(tmp_path) == []


def test_figures_load_no_model_library():
    """The rule holds for what is imported on the way, too."""
    code = "import sys, figures.angle_bins; print({'torch', 'transformers', 'accelerate'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_package_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for package in OURS
        for init in (ROOT / package).rglob("__init__.py")
    }
    assert set(listed) == found


def test_every_test_folder_is_a_package():
    """Else pytest puts `tests/` on the path, and `tests/geometry` shadows `geometry`."""
    folders = {file.parent for file in (ROOT / "tests").rglob("*.py")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []
