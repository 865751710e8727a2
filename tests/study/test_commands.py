"""The commands of a study: their manuals, quickly, and one name for what is shared."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "transformers", "seaborn", "scipy", "pandas"}


@pytest.mark.parametrize("module", ["study.__main__", "study.effects", "study.claims.__main__"])
def test_the_manual_is_shown_without_a_heavy_library(module):
    code = (
        "import importlib, sys\n"
        f"module = importlib.import_module({module!r})\n"
        "try:\n    module.main(['--help'])\n"
        "except SystemExit as left:\n    assert left.code == 0\n"
        f"print(module.__doc__.strip().splitlines()[-1]); print(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    *manual, last, loaded = done.stdout.splitlines()
    assert loaded == "[]" and last in manual
    assert manual[0].startswith(f"usage: python -m {module.removesuffix('.__main__')} ")


def test_what_a_notebook_needs_is_in_the_package():
    code = "import study, sys; print(sorted(study.__all__), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    names = ["ARMS", "INITIAL", "collect", "compare_arms", "record", "run"]
    assert done.stdout.strip() == f"{names} False"
