"""The page and the command: verdicts of made studies, what is missing, what is broken, and the committed page."""

import json
import re
from pathlib import Path

import pytest

from probes.claims.__main__ import main
from probes.claims.claim import weigh
from probes.claims.evidence import Verdict
from probes.claims.page import markdown_table, page
from probes.claims.rows import CLAIMS
from probes.claims.sources import COMMANDS, Shelf
from tests.probes.claims.made import claim, write

ROOT = Path(__file__).resolve().parents[3]
PICTURE, NO_PICTURE = "Where the picture is needed", "No difference where the picture"
PAPER = {"vgs-lp": 0.9, "standard": 0.7, "language-steering": 0.5}


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The page of a folder without records."""
    shelf = Shelf(tmp_path_factory.mktemp("none"))
    return page([weigh(claim, shelf) for claim in CLAIMS], shelf)


def verdict(folder, shares, start=PICTURE, seeds=(0, 1, 2)):
    write(folder / "study", shares, seeds)
    return weigh(claim(start), Shelf(folder)).verdict


def test_a_study_that_shows_a_claim(tmp_path):
    assert verdict(tmp_path, PAPER) is Verdict.REPRODUCED


def test_its_opposite(tmp_path):
    assert verdict(tmp_path, dict(zip(PAPER, reversed(PAPER.values()), strict=True))) is Verdict.NOT_REPRODUCED


def test_one_seed_of_it(tmp_path):
    assert verdict(tmp_path, PAPER, seeds=(0,)) is Verdict.ONE_SEED


def test_no_difference(tmp_path):
    assert verdict(tmp_path, dict.fromkeys(PAPER, 0.7), NO_PICTURE) is Verdict.REPRODUCED


def test_a_difference_where_there_should_be_none(tmp_path):
    assert verdict(tmp_path, PAPER, NO_PICTURE) is Verdict.NOT_REPRODUCED


def test_an_explanation_and_its_tests_stand_where_a_claim_failed(tmp_path):
    turned = dict(zip(PAPER, reversed(PAPER.values()), strict=True)) | {"vgs-lp-lambda-1": 0.95}
    for folder, shares, shown in ((tmp_path / "a", PAPER, False), (tmp_path / "b", turned, True)):
        write(folder / "study", shares)
        shelf = Shelf(folder)
        text = page([weigh(claim(PICTURE), shelf)], shelf)
        assert ("Why it may be so" in text, "| vgs-lp-lambda-1 minus standard" in text) == (shown, shown)
    tests = {row.split(" | ")[0]: row.split(" | ")[-1] for row in text.splitlines() if "lambda is" in row}
    assert tests["| vgs-lp-lambda-1 minus standard, scenes high (lambda is too small)"] == "holds |"
    assert tests["| vgs-lp-lambda-0.1 minus standard, scenes high (lambda is too small)"] == "not measured |"


def test_what_is_missing_is_named_with_its_command(empty):
    rows = [line for line in empty.splitlines() if re.match(r"\| \d+\. ", line)]
    assert len(rows) == len(CLAIMS)
    assert all(row.endswith("| not measured |") and "not measured: `python -m" in row for row in rows)
    parts = [part for claim in CLAIMS for part in (*claim.parts, *claim.tests)]
    assert {part.record for part in parts} == set(COMMANDS)
    assert "{arms}" not in empty and "--arms --" not in empty


def test_an_arm_that_is_missing_is_named_with_its_command(tmp_path):
    write(tmp_path / "study", {name: share for name, share in PAPER.items() if name != "language-steering"})
    shelf = Shelf(tmp_path)
    text = page([weigh(claim(PICTURE), shelf)], shelf)
    assert "not measured: `python -m train.study --arms language-steering standard --out runs/study" in text
    assert "20.0 [" in text


def test_bars_and_stars_in_cells_are_escaped(empty):
    assert markdown_table(["q*"], [["|g|\nb"]]).splitlines() == [r"| q\* |", "| --- |", r"| \|g\|<br>b |"]
    for block in re.findall(r"(?:^\|.*\n)+", empty, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1


def test_the_command_writes_the_same_bytes_twice(tmp_path, capsys):
    write(tmp_path / "records" / "study", PAPER)
    pages = [tmp_path / "new" / name for name in ("one.md", "two.md")]
    for out in pages:
        assert main(["--records", str(tmp_path / "records"), "--out", str(out)]) == 0
    assert pages[0].read_bytes() == pages[1].read_bytes()
    printed = capsys.readouterr().out
    assert re.search(r"vgs-lp minus standard, scenes high +20\.0 \[\d+\.\d, \d+\.\d\] points +reproduced", printed)
    assert "not measured: `python -m probes.angles" in printed and f"page: {pages[1]}" in printed


@pytest.mark.parametrize("broken", ["not json", "incomplete", "no table"])
def test_a_broken_record_is_one_line(tmp_path, capsys, broken):
    write(tmp_path / "study", PAPER, drop=("curves",) if broken == "no table" else ())
    path = tmp_path / "study" / "record.json"
    if broken != "no table":
        content = json.loads(path.read_text()) | {"complete": False}
        path.write_text("?" if broken == "not json" else json.dumps(content))
    assert main(["--records", str(tmp_path), "--out", str(tmp_path / "page.md")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
    assert not (tmp_path / "page.md").exists()


def test_the_committed_page_is_what_the_records_say(tmp_path):
    out = tmp_path / "claims.md"
    assert main(["--records", str(ROOT / "figures" / "gallery"), "--out", str(out)]) == 0
    written = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    assert out.read_text(encoding="utf-8") == written, "write it anew: python -m probes.claims"
