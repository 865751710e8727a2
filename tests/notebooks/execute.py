"""Run the notebooks headless, each in a kernel of its own and in its own folder.

    python -m tests.notebooks.execute                          # all; executed copies in runs/notebooks/executed
    python -m tests.notebooks.execute figure3_angles --in-place

A cell that raises ends the run. With `--in-place` the committed notebook is replaced. Parameters are set as papermill
sets them: by a cell with the tag `injected-parameters` behind the one with the tag `parameters`.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import OptionError, exit_code
from cli.options import Parser

if TYPE_CHECKING:
    from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
EXECUTED = ROOT / "runs" / "notebooks" / "executed"
NAMES = tuple(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
TIMEOUT_S = 1800
INJECTED = "injected-parameters"


def read(name: str) -> "NotebookNode":
    """Return a committed notebook."""
    import nbformat  # here, as nbclient below, so that --help needs neither

    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def parameters_cell(notebook: "NotebookNode") -> "NotebookNode":
    """Return the one cell that has the tag `parameters`."""
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    return cell


def assigned(cell: "NotebookNode") -> dict[str, Any]:
    """Return the names that a cell assigns, with their values."""
    names: dict[str, Any] = {}
    exec(cell.source, {}, names)
    return names


def inject(notebook: "NotebookNode", parameters: Mapping[str, Any]) -> None:
    """Add a cell that sets parameters, where papermill adds it.

    Raises:
        KeyError: a parameter that the notebook does not have.
    """
    from nbformat.v4 import new_code_cell

    cell = parameters_cell(notebook)
    if unknown := set(parameters) - set(assigned(cell)):
        raise KeyError(f"the notebook has no parameters {', '.join(sorted(unknown))}")
    source = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
    injected = new_code_cell(source, id=INJECTED, metadata={"tags": [INJECTED]})
    notebook.cells.insert(notebook.cells.index(cell) + 1, injected)


def executed(name: str, parameters: Mapping[str, Any] | None = None, timeout_s: int = TIMEOUT_S) -> "NotebookNode":
    """Return a notebook with the outputs of a run, some of its parameters set by a cell behind the committed ones.

    Raises:
        KeyError: a parameter that the notebook does not have.
        CellExecutionError: a cell raises.
    """
    from nbclient import NotebookClient

    notebook = read(name)
    if parameters:
        inject(notebook, parameters)
    client = NotebookClient(
        notebook,
        timeout=timeout_s,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    )
    packages = {"PYTHONPATH": str(ROOT)}  # this tree's, also where another one is installed
    client.execute(env=os.environ | packages | {"PYTHONWARNINGS": "ignore:IProgress not found"})  # bars are lines
    return notebook


def main(argv: Sequence[str] | None = None) -> int:
    """Run notebooks one after the other and say how long each took; return the exit code."""
    parser = Parser("tests.notebooks.execute", __doc__)
    words = f"some of {', '.join(NAMES)} (default: all)"
    parser.add_argument("names", nargs="*", type=str, default=list(NAMES), help=words)
    parser.add_argument("--in-place", action="store_true", help="replace the committed notebooks")
    parsed = parser.parse_args(argv)
    return exit_code(lambda: _run(parsed.names, NOTEBOOKS if parsed.in_place else EXECUTED))


def _run(names: Sequence[str], folder: Path) -> None:
    import nbformat

    if unknown := [name for name in names if name not in NAMES]:
        raise OptionError(f"`names` must be some of {', '.join(NAMES)}, got {unknown[0]!r}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        began = time.monotonic()
        notebook = executed(name)
        nbformat.write(notebook, folder / f"{name}.ipynb")
        print(f"{name}: {time.monotonic() - began:.0f} s, {folder / name}.ipynb", flush=True)


if __name__ == "__main__":
    sys.exit(main())
