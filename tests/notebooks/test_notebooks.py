"""The notebooks run, and the committed ones show what a run without a fault has left."""

import base64
import io

import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell
from PIL import Image

from tests.notebooks import execute
from tests.notebooks.execute import NAMES, NOTEBOOKS

TINY = {  # parameters with which a notebook takes seconds, and how many pictures it then shows
    "diagnose_a_pair": ({"LIMIT": 6, "PER_BIN": 1}, 2),
    "figure3_angles": ({"LIMIT": 6, "PER_BIN": 1}, 2),
    "figure4_dynamics": ({"ARMS": ["standard"], "STEPS": 1, "ANSWERS": 8}, 2),
    "figure7_norms": ({"STEPS": 2, "EVERY": 1, "BATCH": 4}, 1),
}
SHARED = {"STUDENT", "TEACHER", "PROMPTS", "FOLDER"}
MOST_BYTES = 600_000


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(notebook):
    """Return the sizes of the pictures that a notebook shows, decoded."""
    encoded = [output.data["image/png"] for output in outputs(notebook) if "image/png" in output.get("data", {})]
    return [Image.open(io.BytesIO(base64.b64decode(text))).size for text in encoded]


def test_every_notebook_is_tested():
    assert set(TINY) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name, tmp_path):
    parameters, shown = TINY[name]
    notebook = execute.executed(name, parameters | {"FOLDER": str(tmp_path / "run")}, timeout_s=250)
    assert len(pictures(notebook)) == shown
    assert list((tmp_path / "run").iterdir()), "what it measured is not where `FOLDER` says"


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_shows_a_run_without_a_fault(name):
    notebook = execute.read(name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert [output for output in outputs(notebook) if output.output_type == "error"] == []
    assert len(pictures(notebook)) >= TINY[name][1]
    assert all(width > 500 and height > 200 for width, height in pictures(notebook))


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_is_small_and_changes_little(name):
    notebook = execute.read(name)
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size < MOST_BYTES
    assert notebook.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids) and all(part.isalpha() for id_ in ids for part in id_.split("-"))
    assert not any("execution" in cell.metadata for cell in notebook.cells)  # times


@pytest.mark.parametrize("name", NAMES)
def test_parameters_stand_at_the_top(name):
    cells = execute.read(name).cells
    cell = execute.parameters_cell(execute.read(name))
    first = next(one for one in cells if one.cell_type == "code")
    assert cell.id == first.id == "parameters"
    assert execute.assigned(cell).keys() >= SHARED | set(TINY[name][0])
    assert "arXiv:2606.00564" in cells[0].source and "Eq. " in cells[0].source


def test_an_unknown_parameter_is_refused_before_a_kernel_starts():
    with pytest.raises(KeyError, match="STEP_COUNT"):
        execute.executed("figure7_norms", {"STEP_COUNT": 1})


def test_a_cell_that_raises_fails(monkeypatch):
    broken = execute.read("figure7_norms")
    broken.cells = [execute.parameters_cell(broken), new_code_cell("assert STEPS == 1")]
    monkeypatch.setattr(execute, "read", lambda name: broken)
    with pytest.raises(CellExecutionError, match="AssertionError"):
        execute.executed("figure7_norms", {"STEPS": 2})
    execute.executed("figure7_norms", {"STEPS": 1})


def test_an_unknown_notebook_is_refused(capsys):
    assert execute.main(["no_such_notebook"]) == 2
    assert "`names` must be some of" in capsys.readouterr().err
