"""CITATION.cff has what its format asks for, agrees with pyproject.toml, and a package page has working links."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIRED = {"cff-version", "message", "title", "authors"}
"""Keys that version 1.2.0 of the Citation File Format requires."""


def lacking(citation):
    """Return what a citation lacks: required keys, and a name for each author."""
    missing = sorted(REQUIRED - citation.keys())
    people = [*citation.get("authors", []), *(a for r in citation.get("references", []) for a in r["authors"])]
    return missing + [
        f"name of {person}" for person in people if not ({"name"} & person.keys() or {"family-names"} & person.keys())
    ]


def test_the_citation_has_the_required_keys():
    assert lacking(CITATION) == []
    assert CITATION["cff-version"] == "1.2.0" and CITATION["type"] == "software"
    for reference in CITATION["references"]:
        assert {"type", "title", "authors"} <= reference.keys()


@pytest.mark.parametrize("key", sorted(REQUIRED))
def test_a_missing_key_is_noticed(key):
    assert lacking({name: value for name, value in CITATION.items() if name != key}) == [key]


def test_the_citation_is_of_this_version():
    assert (CITATION["version"], CITATION["license"]) == (PROJECT["version"], PROJECT["license"])
    assert CITATION["title"].startswith(PROJECT["name"])
    assert f"\n## {PROJECT['version']}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_links_of_the_package_page_are_absolute():
    page = (ROOT / PROJECT["readme"]).read_text(encoding="utf-8")
    links = [*re.findall(r"\]\(([^)]+)\)", page), *PROJECT["urls"].values()]
    assert len(links) >= 3 and all(link.startswith("https://") for link in links)
