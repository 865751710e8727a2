"""The terms that a page explains: from one file of data, shown where a term stands."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

from figures.web.visible import visible

FILE = Path(__file__).parent / "glossary.json"


@cache
def terms() -> Mapping[str, str]:
    """Return the meaning of each term, in one sentence or two."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def glossed(text: object) -> Markup:
    """Return text as HTML, escaped and made visible, with the first mention of each term explained under the pointer.

    >>> str(glossed("a < b"))
    'a &lt; b'
    """
    explained: set[str] = set()
    pieces = _pattern().split(visible(text))
    return Markup("").join(_piece(piece, explained) for piece in pieces)


def _piece(piece: str, explained: set[str]) -> Markup:
    name = _by_spelling().get(piece.lower())
    if name is None or name in explained:
        return escape(piece)
    explained.add(name)
    meaning = visible(terms()[name])
    return Markup('<dfn class="term" tabindex="0" data-tip="{}: {}">{}</dfn>').format(visible(name), meaning, piece)


@cache
def _by_spelling() -> Mapping[str, str]:
    """The name of the term that a spelling in lower case belongs to."""
    return {name.lower(): name for name in terms()}


@cache
def _pattern() -> re.Pattern[str]:
    """Any term as a word of its own, the longest first; split at it, every second piece is a term."""
    spellings = sorted(map(re.escape, _by_spelling()), key=len, reverse=True)
    return re.compile(rf"(?<![\w*])({'|'.join(spellings)})(?![\w*])", re.IGNORECASE)
