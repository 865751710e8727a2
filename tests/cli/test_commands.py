"""Every command, in a process of its own: its help is quick and whole, and a wrong flag is one line."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.vgs import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "transformers", "accelerate", "datasets", "pandas", "matplotlib", "scipy", "nbclient"}
MOST_CPU_SECONDS = 1.5

NO_COMMANDS = {
    "cli.vgs": "runs the commands",
    "tests.benchmarks.own_process": "launched by benchmarks",
    "tests.benchmarks.stage_seconds": "launched by a benchmark",
    "tests.families.run": "launched by a test",
    "tests.faults.clock": "launched by a harness",
    "tests.faults.geometry_fuzz": "a harness of the tests, which loads what it tries",
    "tests.probes.all_probes": "launched by a test",
    "tests.train.both": "launched by a test",
    "tests.train.shards": "launched by a test",
    "vlm.answers.latex": "the worker process of `vlm.answers.latex.Worker`",
}

ARGUMENTS = {  # of the commands that need some
    "bundled.blind": ["folder"],
    "figures": ["record"],
    "figures.index": ["folder"],
    "records": ["record"],
    "study.effects": ["folder"],
}

RUN = """
import json, runpy, sys, time
module, *words = sys.argv[1:]
sys.argv = [module, *words]
code = 0
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code
loaded = sorted(name for name in sys.modules if "." not in name)
print(json.dumps({"code": code, "loaded": loaded, "seconds": time.process_time()}))
"""


def modules():
    """Return the modules of this repository that are commands, by the name that `python -m` takes."""
    packages = [folder for folder in ROOT.iterdir() if (folder / "__init__.py").is_file()]
    sources = [source for folder in packages for source in folder.rglob("*.py") if source != Path(__file__)]
    run_by_name = [source for source in sources if 'if __name__ == "__main__":' in source.read_text()]
    names = [".".join(source.relative_to(ROOT).with_suffix("").parts) for source in run_by_name]
    return sorted({name.removesuffix(".__main__") for name in names} - set(NO_COMMANDS))


MODULES = modules()


def run(*words):
    """Run a module in a fresh interpreter; return what it printed on stdout and stderr, and how it ended."""
    done = subprocess.run([sys.executable, "-c", RUN, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    *printed, ending = done.stdout.splitlines()
    return printed, done.stderr.splitlines(), json.loads(ending)


def manual(module):
    path = ROOT / Path(*module.split("."))
    source = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__main__.py"
    return ast.get_docstring(ast.parse(source.read_text())).splitlines()


def test_the_commands_of_vgs_are_among_the_modules():
    assert {path.removesuffix(".__main__") for path, _ in COMMANDS.values()} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_help_shows_the_manual_and_titled_flags_without_a_model_library(module):
    printed, complaints, ending = run(module, "--help")
    assert ending["code"] == 0 and not complaints
    assert printed[0].startswith(f"usage: python -m {module}") and printed[0].endswith("[flags]")
    text = "\n".join(printed)
    assert "\n".join(manual(module)) in text
    flags = next(number for number, line in enumerate(printed) if line.startswith("  -h, --help"))
    assert printed[flags - 1] == "options:"
    assert not HEAVY & set(ending["loaded"])
    assert ending["seconds"] <= MOST_CPU_SECONDS


@pytest.mark.parametrize("module", MODULES)
def test_a_wrong_flag_is_one_line_and_exit_code_2(module):
    printed, complaints, ending = run(module, *ARGUMENTS.get(module, ()), "--no-such-flag")
    assert ending["code"] == 2 and not printed
    [line] = complaints
    assert line.startswith("error: ") and "--no-such-flag" in line and line.endswith(f"see python -m {module} --help")


@pytest.mark.parametrize("word", COMMANDS)
def test_vgs_shows_the_help_of_a_command(word):
    printed, complaints, ending = run("cli.vgs", word, "--help")
    assert ending["code"] == 0 and not complaints and printed[0].startswith(f"usage: vgs {word} ")
    assert not HEAVY & set(ending["loaded"])


@pytest.mark.parametrize("words", [["no-such-command"], ["angles", "--no-such-flag"]])
def test_vgs_complains_in_one_line(words):
    printed, complaints, ending = run("cli.vgs", *words)
    assert ending["code"] == 2 and not printed and len(complaints) == 1 and complaints[0].startswith("error: ")


def test_a_path_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    printed, complaints, ending = run("bundled.train", "--work", str(tmp_path / "file" / "work"))
    assert ending["code"] == 2 and not printed
    assert complaints == [f"error: cannot use `{tmp_path}/file/work` (Not a directory): choose another path"]
