"""The glossary: one meaning for each term, equations that the index knows, and the page that the terms make."""

import re
from pathlib import Path

import pytest

from cli.errors import UserError
from figures.glossary import TERMS, term
from figures.glossary.__main__ import main, page

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_page_is_the_generated_one():
    assert (ROOT / "docs/glossary.md").read_text(encoding="utf-8") == page(), "run `python -m figures.glossary`"


def test_no_spelling_stands_for_two_terms():
    spellings = [spelling.lower() for entry in TERMS for spelling in (entry.name, *entry.also)]
    assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize("entry", TERMS, ids=lambda entry: entry.name)
def test_a_meaning_is_at_most_three_short_sentences(entry):
    sentences = re.findall(r"[^.]+(?:\.(?!\s|$)[^.]*)*\.(?=\s|$)", entry.meaning)
    assert 1 <= len(sentences) <= 3 and entry.meaning.endswith(".")
    assert max(len(sentence.split()) for sentence in sentences) <= 24


def test_every_equation_is_in_the_index():
    index = (ROOT / "docs/equations.md").read_text(encoding="utf-8")
    for entry in TERMS:
        for number in re.findall(r"\d+", entry.source) if entry.source.startswith("Eq.") else []:
            covered = [range(int(a), int(b or a) + 1) for a, b in re.findall(r"(\d+)(?:-(\d+))?", index)]
            assert any(int(number) in numbers for numbers in covered), entry.name


@pytest.mark.parametrize("name", ["VDS", "q*", "detached", "attached", "prior", "shift", "null", "eta", "bin", "gamma"])
def test_the_words_of_the_pages_are_there(name):
    assert term(name).name == name


def test_another_spelling_leads_to_the_term_and_an_unknown_one_is_an_error():
    assert term("LP") is term("language preservation")
    with pytest.raises(UserError, match="'Q-star'"):
        term("Q-star")


def test_the_command_writes_the_page(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "glossary.md")]) == 0
    assert (tmp_path / "glossary.md").read_text(encoding="utf-8") == page()
