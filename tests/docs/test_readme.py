"""README.md is short, its Python runs as printed, and the links of every page lead to files that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LOG.md", "figures/gallery/README.md")
]
PAGES += sorted((ROOT / "docs").glob("*.md"))


def broken_links(page, text):
    """Return the targets of a text's relative links that are not there."""
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]+`", "", text))
    paths = [target.partition("#")[0] for target in targets if "://" not in target]
    return [path for path in paths if path and not (page.parent / path).exists()]


def test_it_has_at_most_700_words():
    assert len(README.split()) <= 700


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_a_link_to_nothing_is_noticed():
    text = "[a](docs/none.md#x), [b](LOG.md), [c](https://none.example), `[d](e)`, [f](#here)"
    assert broken_links(ROOT / "README.md", text) == ["docs/none.md"]


def test_every_page_can_be_reached_from_it():
    pages, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in pages or page.suffix != ".md":
            continue
        pages.add(page)
        links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8"))
        left += [
            (page.parent / link).resolve() for link in links if "://" not in link and (page.parent / link).exists()
        ]
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {page.name for page in pages} == set()


@pytest.mark.timeout(900)  # half a minute on an idle core
def test_its_python_runs_as_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "readme"}
    [block] = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    exec(compile(block, "README.md", "exec"), names)
    said = capsys.readouterr().out
    assert names["advice"].verdict in said and " nan" not in said
    assert (tmp_path / "runs" / "readme" / "angle_bins.png").is_file()
