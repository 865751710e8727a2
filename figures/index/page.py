"""The page of the index: entries as cards, a filter, and two of them side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from figures.index.entries import Entry
from figures.index.sparks import HEIGHT, WIDTH, polylines
from figures.web import render

PARTS: Final = ("index/index",)


def text(name: str, entries: Sequence[Entry], root: Path) -> str:
    """Return the whole page as HTML.

    Args:
        name: of the folder.
        root: the folder of the entries, relative to the page.
    """
    cards = [_card(number, entry, root) for number, entry in enumerate(entries)]
    kinds = sorted({entry.kind for entry in entries})
    return render("index/page.html.jinja", PARTS, name=name, cards=cards, kinds=kinds, size=(WIDTH, HEIGHT))


def _card(number: int, entry: Entry, root: Path) -> dict[str, Any]:
    words = " ".join((str(entry.folder), entry.kind, entry.pair, entry.weights, entry.headline))
    return {
        "number": number,
        "folder": str(entry.folder) if entry.folder.parts else root.resolve().name,
        "kind": entry.kind,
        "when": f"{entry.when:%Y-%m-%d %H:%M} UTC",
        "state": entry.state,
        "pair": entry.pair,
        "weights": entry.weights,
        "headline": entry.headline,
        "words": words.lower(),
        "page": _link(root / entry.folder, entry.page),
        "picture": _link(root / entry.folder, entry.picture),
        "lines": polylines(entry.lines),
    }


def _link(folder: Path, name: str) -> str:
    """A relative address; no sign in it can begin a scheme or leave an attribute."""
    return f"./{quote((folder / name).as_posix())}" if name else ""
