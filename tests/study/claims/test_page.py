"""The page and the command: verdicts of made studies, what is missing, what is broken, and the committed page."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from study.claims.__main__ import main
from study.claims.judging import CLAIMS, ClaimVerdict
from study.claims.markdown import markdown_table
from study.claims.page import markdown_page
from study.claims.sources import BENCHMARKS, COMMANDS, command
from study.rules import PRIMARY_SEEDS
from tests.study.claims.made import judged, write

ROOT = Path(__file__).resolve().parents[3]
PICTURE, NO_PICTURE = "Where the picture is needed", "No difference where the picture"
PAPER = {"vgs-lp": 0.9, "standard": 0.7, "language-steering": 0.5}


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The page of a folder whose only record has nothing that is asked for."""
    folder = tmp_path_factory.mktemp("none")
    write(folder / "study", {"off-policy": 0.7})
    return markdown_page(*judged(folder))


def verdict(folder, shares, start=PICTURE, seeds=(0, 1, 2)):
    write(folder / "study", shares, seeds)
    [one], _ = judged(folder, start)
    return one.verdict


def test_a_study_that_shows_a_claim(tmp_path):
    assert verdict(tmp_path, PAPER) is ClaimVerdict.REPRODUCED


def test_its_opposite(tmp_path):
    assert verdict(tmp_path, dict(zip(PAPER, reversed(PAPER.values()), strict=True))) is ClaimVerdict.NOT_REPRODUCED


def test_one_seed_of_it(tmp_path):
    assert verdict(tmp_path, PAPER, seeds=(0,)) is ClaimVerdict.ONE_SEED


def test_no_difference(tmp_path):
    assert verdict(tmp_path, dict.fromkeys(PAPER, 0.7), NO_PICTURE) is ClaimVerdict.REPRODUCED


def test_a_difference_where_there_should_be_none(tmp_path):
    assert verdict(tmp_path, PAPER, NO_PICTURE) is ClaimVerdict.NOT_REPRODUCED


def test_an_explanation_and_its_tests_stand_where_a_claim_failed(tmp_path):
    turned = dict(zip(PAPER, reversed(PAPER.values()), strict=True)) | {"vgs-lp-lambda-1": 0.95}
    for folder, shares, shown in ((tmp_path / "a", PAPER, False), (tmp_path / "b", turned, True)):
        write(folder / "study", shares)
        text = markdown_page(*judged(folder, PICTURE))
        assert ("Why it may be so" in text, "| vgs-lp-lambda-1 minus standard" in text) == (shown, shown)
    tests = {row.split(" | ")[0]: row.split(" | ")[-1] for row in text.splitlines() if "lambda is" in row}
    assert tests["| vgs-lp-lambda-1 minus standard, scenes high (lambda is too small)"] == "yes |"
    assert tests["| vgs-lp-lambda-0.1 minus standard, scenes high (lambda is too small)"] == "not measured |"


def test_a_question_of_our_own_is_answered(tmp_path):
    write(tmp_path / "study", {"vgs-lp-gamma-3.25-lambda-1": 0.5, "standard": 0.7, "vgs-lp": 0.6})
    text = markdown_page(*judged(tmp_path, "Is what the diagnosis recommended"))
    assert "Of 1 questions of our own: **0** yes, **1** no, **0** unclear, **0** not measured." in text
    assert "**No.** A question of our own: `probes.diagnose` recommended" in text


def test_a_note_stands_whatever_came_out(empty):
    notes = [claim.note for claim in CLAIMS if claim.note]
    assert notes and all(note in empty for note in notes)


def test_runs_stand_with_their_power_and_the_seeds_that_settle_it(tmp_path):
    write(tmp_path / "study", PAPER)
    lines = markdown_page(*judged(tmp_path, PICTURE)).splitlines()
    [line] = [line for line in lines if line.startswith("| vgs-lp minus standard, scenes high |")]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[4] == "200 scenes; 3 and 3 seeds, 20.0 to 20.0"
    assert re.fullmatch(r"\d+ % for \+2\.4", cells[5]) and int(cells[6]) > 20
    assert re.fullmatch(r"exploratory, p 0\.\d+", cells[7])


def test_what_is_only_shown_is_marked_and_decides_nothing(tmp_path):
    write(tmp_path / "study_average", {"vgs": 0.7, "standard": 0.7})
    text = markdown_page(*judged(tmp_path, "VGS lowers the visual loss"))
    assert "**1** not measured" in text and "--seeds 4 5 6 7 --weight-average" in text
    assert len(re.findall(r"\(shown: seen before the rule\) \|", text)) == 2


def test_a_primary_contrast_says_so(tmp_path):
    write(tmp_path / "study_average", {"vgs": 0.9, "standard": 0.7}, tuple(PRIMARY_SEEDS))
    text = markdown_page(*judged(tmp_path, "Is steering by gamma 2 better"))
    assert re.search(r"\| primary, p \S+ \| yes \|", text)


def test_a_primary_contrast_waits_for_all_its_seeds(tmp_path):
    write(tmp_path / "study_average", {"vgs": 0.9, "standard": 0.7}, tuple(PRIMARY_SEEDS)[:-1])
    [one], _ = judged(tmp_path, "Is steering by gamma 2 better")
    assert one.verdict is ClaimVerdict.NOT_MEASURED


def test_the_page_names_its_folder(tmp_path):
    write(tmp_path / "study", PAPER)
    text = markdown_page(*judged(tmp_path, PICTURE))
    assert f"from the records in `{tmp_path.as_posix()}`" in text


def test_the_command_of_a_study_leaves_the_gallery_alone():
    for record in (name for name in COMMANDS if name.startswith("study")):
        judged_as = " --primary" if record == "study_average" else ""
        made = f"--out runs/{record} && python -m study.effects runs/{record}{judged_as}"
        assert command(record, ("vgs",)).endswith(made)


@pytest.mark.parametrize("made", [False, True])
def test_the_blind_teacher_is_made_where_it_is_missing(tmp_path, made):
    (tmp_path / "runs" / ("blind" if made else "")).mkdir(parents=True)
    shell = 'python() { echo "$2"; }; ' + command("study_blind", ("standard", "vgs"))
    found = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["bundled.blind"] * (not made) + ["study", "study.effects"]


def test_what_is_missing_is_named_with_its_command(empty):
    rows = [line for line in empty.splitlines() if re.match(r"\| \d+\. ", line)]
    assert len(rows) == len(CLAIMS)
    assert all(re.search(r"not measured: `(python|\(test)", row) for row in rows)
    verdicts = ["cannot be tested here" if claim.untestable else "not measured" for claim in CLAIMS]
    assert [row.split(" | ")[-1].rstrip(" |") for row in rows] == verdicts
    statements = [statement for claim in CLAIMS for statement in (*claim.statements, *claim.tests)]
    assert {statement.record for statement in statements} == {*COMMANDS, *BENCHMARKS}
    assert "{arms}" not in empty and "--arms --" not in empty


def test_an_arm_that_is_missing_is_named_with_its_command(tmp_path):
    write(tmp_path / "study", {name: share for name, share in PAPER.items() if name != "language-steering"})
    text = markdown_page(*judged(tmp_path, PICTURE))
    assert "not measured: `python -m study --arms language-steering standard --out runs/study" in text
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
    assert printed.splitlines()[-1].startswith("next: python -m probes.angles")


@pytest.mark.parametrize("folder", ["not there", "without a record"])
def test_a_folder_without_a_record_is_one_line(tmp_path, capsys, folder):
    if folder == "without a record":
        (tmp_path / folder / "study").mkdir(parents=True)
    out = tmp_path / "page.md"
    assert main(["--records", str(tmp_path / folder), "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: `records` must be") and said.err.count("\n") == 1
    assert not out.exists()


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


def test_the_committed_page_is_what_the_records_say(tmp_path, monkeypatch):
    out = tmp_path / "claims.md"
    monkeypatch.chdir(ROOT)
    assert main(["--out", str(out)]) == 0
    written = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    assert out.read_text(encoding="utf-8") == written, "write it again: python -m study.claims"
