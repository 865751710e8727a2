"""docs/prompts.md lists the columns that are recognised and the benchmarks as they are."""

import re
from pathlib import Path

from vlm.prompts.benchmarks import BENCHMARKS
from vlm.prompts.messages import ROLES
from vlm.prompts.schemas import PICTURES, QUESTIONS, USUAL

PAGE = (Path(__file__).parents[2] / "docs/prompts.md").read_text(encoding="utf-8")


def rows(title):
    table = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.splitlines()
        if line.startswith("| ") and "---" not in line
    ]


def test_benchmarks():
    listed = {
        name.strip("` *"): [name.endswith("*"), *(cell.strip("`") for cell in cells)]
        for name, *cells in rows("Benchmarks")[1:]
    }
    assert listed == {
        name: [not own.checked, own.hub, own.config or "", own.split, own.group or "", own.answers]
        for name, own in BENCHMARKS.items()
    }


def test_columns():
    listed = {role.strip("`"): re.findall(r"`([^`]+)`", names) for role, names in rows("Columns")[1:]}
    expected = {"problem": QUESTIONS, "images": (*PICTURES, "image_1", "image_2")} | USUAL
    assert listed == {role: list(names) for role, names in expected.items()}
    assert f"**Roles** of messages are {', '.join(f'`{name}`' for name in list(ROLES)[:-1])} and `gpt`." in PAGE
