"""Run the notebooks headless, each in a kernel of its own and in its own folder.

    python -m tests.notebooks.execute                          # all; executed copies in runs/notebooks/executed
    python -m tests.notebooks.execute figure3_angles --in-place

A cell that raises ends the run. With `--in-place` the committed notebook is written anew.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
EXECUTED = ROOT / "runs" / "notebooks" / "executed"
NAMES = tuple(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
TIMEOUT_S = 1800


def read(name: str) -> NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def parameters_cell(notebook: NotebookNode) -> NotebookNode:
    """Return the one cell that has the tag `parameters`."""
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    return cell


def assigned(cell: NotebookNode) -> dict[str, Any]:
    """Return the names that a cell assigns, with their values."""
    names: dict[str, Any] = {}
    exec(cell.source, {}, names)
    return names


def executed(name: str, parameters: Mapping[str, Any] | None = None, timeout_s: int = TIMEOUT_S) -> NotebookNode:
    """Return a notebook with the outputs of a run, some of its parameters replaced.

    Raises:
        KeyError: a parameter that the notebook does not have.
        CellExecutionError: a cell raises.
    """
    notebook = read(name)
    cell = parameters_cell(notebook)
    if unknown := set(parameters or {}) - set(assigned(cell)):
        raise KeyError(f"`{name}` has no parameters {', '.join(sorted(unknown))}")
    committed = cell.source
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in (parameters or {}).items())
    client = NotebookClient(
        notebook,
        timeout=timeout_s,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    )
    packages = {"PYTHONPATH": str(ROOT)}  # this tree's, also where another one is installed
    client.execute(env=os.environ | packages | {"PYTHONWARNINGS": "ignore:IProgress not found"})  # bars are lines
    cell.source = committed
    return notebook


def main(argv: Sequence[str] | None = None) -> int:
    """Run notebooks one after the other and say how long each took; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES, help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--in-place", action="store_true", help="write the committed notebooks anew")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.names if name not in NAMES]:
        parser.error(f"`names` must be of {', '.join(NAMES)}, not {unknown[0]}")
    folder = NOTEBOOKS if options.in_place else EXECUTED
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.names:
        began = time.monotonic()
        notebook = executed(name)
        nbformat.write(notebook, folder / f"{name}.ipynb")
        print(f"{name}: {time.monotonic() - began:.0f} s, {folder / name}.ipynb", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
