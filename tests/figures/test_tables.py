"""Tables 1, 2 and 5: the published numbers as published, ours from the record, a dash where there is nothing."""

import re

import pytest
from scipy.stats import t

from figures import tables
from figures.catalogue import picture
from tests.figures.drawing import draw


@pytest.fixture(scope="module")
def text(study):
    return tables.text(study)


def cells(text, title, label):
    """The cells of a row in the table of a title."""
    section = text[text.index(title) :].split("\n\n")[1]
    [found] = [row for row in section.splitlines() if row.startswith(f"| {label} |")]
    return [cell.strip() for cell in found.strip("|").split("|")][1:]


@pytest.mark.parametrize(
    ("title", "label", "published"),
    [
        ("Table 1", "not trained", ["31.32", "–", "46.68", "–"]),
        ("Table 1", "standard", ["43.74", "45.07", "56.64", "56.86"]),
        ("Table 1", "VGS (`vgs-lp`)", ["46.10", "46.14", "58.12", "57.27"]),
        ("Table 1", "teacher (8B, Acc@1)", ["61.37", "–", "61.37", "–"]),
        ("Table 2", "GRPO", ["44.83", "45.68"]),
        ("Table 2", "GRPO + standard", ["45.41", "45.22"]),
        ("Table 2", "GRPO + VGS (`grpo+vgs-lp`)", ["47.20", "46.57"]),
        ("Table 5", "standard", ["43.74"]),
        ("Table 5", "VGS (`vgs-lp`)", ["46.10"]),
        ("Table 5", "adaptive", ["46.53"]),
    ],
)
def test_published_numbers(text, title, label, published):
    assert cells(text, title, label)[: len(published)] == published


def test_ours_are_the_verdicts_and_effects(study, text):
    rows = study.tables["verdicts"].query("arm == 'vgs-lp' and group == 'low'")
    each = 100 * rows.groupby("seed")["correct"].mean()
    half = t.ppf(0.975, len(each) - 1) * each.sem()
    least, most = each.mean() - half, each.mean() + half
    *_, low, _, difference = cells(text, "Table 1", "VGS (`vgs-lp`)")
    assert low == f"{each.mean():.1f} ({max(least, 0):.1f} to {min(most, 100):.1f})"
    row = study.tables["effects"].query("arm == 'vgs-lp' and where == 'high'").iloc[0]
    ends = [f"{100 * row[name]:+.1f}" for name in ("difference", "low", "high")]
    assert difference == f"{ends[0]} ({ends[1]} to {ends[2]}), {row['counts_as']}"


def test_what_was_not_measured_is_a_dash(text, one_seed):
    assert cells(text, "Table 1", "teacher (8B, Acc@1)")[4:] == ["–"] * 4
    assert cells(text, "Table 2", "GRPO + standard")[2:] == ["–"] * 4
    assert cells(tables.text(one_seed), "Table 5", "adaptive")[1:] == ["–"] * 4


def test_rows_are_as_long_as_their_header(text):
    for section in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({row.count("|") for row in section.splitlines()}) == 1


def test_the_command_writes_them(study, text, tmp_path, capsys):
    out = tmp_path / "new"
    assert draw(capsys, study.path, "tables", "--out", out) == [str(out / "tables.md")]
    assert (out / "tables.md").read_text() == text
    assert picture("tables").write(study, tmp_path) == [tmp_path / "tables.md"]
