"""Every command that a page, a manual or an error names runs a module that is there, with flags that it has."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("bundled", "cli", "docs", "figures", "geometry", "notebooks", "probes", "records", "study", "train", "vlm")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile")),
    *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".md", ".py")),
]
COMMAND = re.compile(r"python -m ((?!torch|pip|tests)[a-z_.]*[a-z_])(?!\.?[<{\w])([^`\n\"')#|&;]*)")


def commands():
    """Yield each module and flag that stand in a text, and the text."""
    for page in PAGES:
        for module, words in COMMAND.findall(page.read_text(encoding="utf-8")):
            yield module.strip("."), re.findall(r"(?<!\S)(--[a-z][a-z-]*)", words), page.relative_to(ROOT)


@cache
def manual(module):
    found = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_texts_name_many_commands():
    assert len(list(commands())) > 60


@pytest.mark.parametrize("module", sorted({module for module, _, _ in commands()}))
def test_it_has_the_flags(module):
    known = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", manual(module)))
    for other, flags, page in commands():
        if other == module:
            assert set(flags) <= known, f"{page}: python -m {module} has no {sorted(set(flags) - known)}"
