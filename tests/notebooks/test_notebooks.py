"""The notebooks run, the committed ones show what a run without a fault has left, and their text types no result."""

import base64
import io
import re
from copy import deepcopy

import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell
from PIL import Image

from tests.notebooks import execute
from tests.notebooks.execute import NAMES, NOTEBOOKS

TINY = {  # parameters with which a notebook takes seconds, and how many pictures it then shows
    "diagnose_a_pair": ({"LIMIT": 6, "PER_BIN": 1, "TRIAL_STEPS": 1}, 2),
    "figure3_angles": ({"LIMIT": 6, "PER_BIN": 1}, 2),
    "figure4_dynamics": ({"ARMS": ["standard"], "STEPS": 1, "BATCH": 4, "HELD_OUT": 8, "ANSWERS": 8}, 2),
    "figure7_norms": ({"STEPS": 2, "EVERY": 1, "BATCH": 4}, 1),
    "steer_or_not": (
        {"LIMIT": 6, "PER_BIN": 1, "TRIAL_STEPS": 1, "STEPS": 1, "BATCH": 4, "SCORED": 4, "ANSWERS": 8},
        2,
    ),
}
SHARED = {"STUDENT", "TEACHER", "PROMPTS", "FOLDER"}
MOST_BYTES = 600_000
NO_RESULT = (  # what may hold a number in a text: formulas, code, links, names
    r"\$\$.*?\$\$",
    r"\$[^$]*\$",
    r"```.*?```",
    r"`[^`]*`",
    r"\]\([^)]*\)",
    r"arXiv:\d{4}\.\d+",
    r"Section [\d.]+",
    r"95 % intervals",
)
LINK = re.compile(r"\]\((?!https?:)([^)]+)\)")
RESULT = re.compile(r"\d\.\d|\d\s*(%|nats|degrees|points|seconds|s\b)")


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(notebook):
    """Return the sizes of the pictures that a notebook shows, decoded."""
    encoded = [output.data["image/png"] for output in outputs(notebook) if "image/png" in output.get("data", {})]
    return [Image.open(io.BytesIO(base64.b64decode(text))).size for text in encoded]


def texts(notebook):
    """Return what is typed in text cells."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def told(notebook):
    """Return the texts that code cells wrote, by the id of the cell."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return {
        cell.id: output.data["text/markdown"]
        for cell in cells
        for output in cell.outputs
        if "text/markdown" in output.get("data", {})
    }


def last_words(notebook):
    """Return what the last cell says, typed or written by its code."""
    last = notebook.cells[-1]
    return last.source if last.cell_type == "markdown" else told(notebook)[last.id]


def test_every_notebook_is_tested():
    assert set(TINY) == set(NAMES)


SHORT = ("figure3_angles", "steer_or_not")
"""Those that run with every test; the others are slow."""


@pytest.mark.parametrize("name", [n if n in SHORT else pytest.param(n, marks=pytest.mark.slow) for n in NAMES])
def test_a_notebook_runs(name, tmp_path):
    parameters, shown = TINY[name]
    folders = {
        key: str(tmp_path / "run" / key)
        for key in execute.assigned(execute.parameters_cell(execute.read(name)))
        if key in ("FOLDER", "DIAGNOSIS")
    }
    notebook = execute.executed(name, parameters | folders, timeout_s=250)
    assert len(pictures(notebook)) == shown
    assert list((tmp_path / "run").iterdir()), "what it measured is not where `FOLDER` says"
    place = notebook.cells.index(execute.parameters_cell(notebook))
    assert notebook.cells[place + 1].metadata["tags"] == ["injected-parameters"]  # as papermill does
    assert last_words(notebook).lstrip().startswith("## Next")


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
def test_no_text_types_a_result(name):
    notebook = execute.read(name)
    for text in texts(notebook):
        plain = text
        for pattern in NO_RESULT:
            plain = re.sub(pattern, " ", plain, flags=re.DOTALL)
        assert RESULT.search(plain) is None, f"a number is typed: {plain}"
    assert len(told(notebook)) >= 2, "results are told by code"
    assert not any(re.search(r"\bnan\b", text) for text in told(notebook).values())


def test_a_typed_result_is_noticed():
    noticed = ["stands at 94 degrees", "a loss of 0.372 nats", "88 % of both", "takes 80 s on one core"]
    assert all(RESULT.search(text) for text in noticed)
    assert not any(RESULT.search(text) for text in ("bins 7 to 9", "16 prompts", "Eq. 13-18", "3 seeds"))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_ends_with_what_to_do_next(name):
    words = last_words(execute.read(name)).lstrip()
    assert words.startswith("## Next")
    assert re.search(r"python -m \w+", words) or ".ipynb" in words


@pytest.mark.parametrize("name", NAMES)
def test_what_a_notebook_links_to_is_there(name):
    notebook = execute.read(name)
    linked = [link for text in [*texts(notebook), *told(notebook).values()] for link in LINK.findall(text)]
    assert linked and all((NOTEBOOKS / link).is_file() for link in linked)


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
    monkeypatch.setattr(execute, "read", lambda name: deepcopy(broken))
    with pytest.raises(CellExecutionError, match="AssertionError"):
        execute.executed("figure7_norms", {"STEPS": 2})
    execute.executed("figure7_norms", {"STEPS": 1})


def test_an_unknown_notebook_is_refused(capsys):
    assert execute.main(["no_such_notebook"]) == 2
    assert "`names` must be some of" in capsys.readouterr().err
