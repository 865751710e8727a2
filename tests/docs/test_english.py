"""The list of phrases catches what it names, and lets plain sentences pass."""

import subprocess

import pytest

from tests.english import PHRASES, ROOT, complaints, flagged, instead_of

CAUGHT = {
    "One row a token, two numbers each.": "One row a token",
    "It draws a bin a panel.": "a bin a panel",
    "The change that was foretold came.": "foretold",
    "Eta is measured anew.": "anew",
    "Likewise the text view.": "Likewise",
    "smallest effect that would have been told from none": "told from",
    "All layers but for the head.": "but for",
    "so that its factors can be had": "be had",
    "Beside standard it is lower.": "Beside standard",
    "Not run for want of time.": "for want of",
}
PASSED = (
    "One row per token, for each bin.",
    "The smallest effect distinguishable from zero.",
    "All layers except the head.",
    "The null differs from chance; the predicted change is small.",
    "The report lies beside the checkpoints.",
    "A new folder, a renewed run.",
)


@pytest.mark.parametrize("sentence, phrase", CAUGHT.items())
def test_it_catches(sentence, phrase):
    assert flagged(f"Plain.\n{sentence}") == [(2, phrase)]
    assert instead_of(phrase) in PHRASES.values()


def test_it_sees_a_phrase_across_the_end_of_a_line():
    assert flagged("All but\n    for the head.\n# a row\n# a token") == [(1, "but for"), (3, "a row a token")]


@pytest.mark.parametrize("sentence", PASSED)
def test_it_passes(sentence):
    assert flagged(sentence) == []


def test_it_names_file_line_and_replacement(tmp_path):
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "page.md").write_text("# Page\n\nA line a step.\n")
    assert list(complaints(tmp_path)) == ["page.md:3: write 'per, or for each' instead of 'A line a step'"]


def test_no_file_of_the_project_has_one():
    assert list(complaints(ROOT)) == []
