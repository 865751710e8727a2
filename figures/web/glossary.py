"""The terms that a page explains where they stand, from `figures.glossary`."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from markupsafe import Markup, escape

from figures.glossary import TERMS, Term
from figures.web.visible import visible

_OBJECTIVES: Final = ("standard", "language", "visual")
PLAIN: Final = frozenset(
    [
        *_OBJECTIVES,
        *(f"{name} loss" for name in _OBJECTIVES),
        *("unit", "scope", "record", "bin", "bins", "trial", "steering", "adaptive", "dependency", "forecast"),
    ]
)
"""Spellings that are words of the language, too: they are explained in the list alone, not wherever they stand."""


def glossed(text: object) -> Markup:
    """Return text as HTML, escaped and made visible, with the first mention of each term explained under the pointer.

    >>> str(glossed("a < b"))
    'a &lt; b'
    """
    explained: set[str] = set()
    pieces = _pattern().split(visible(text))
    return Markup("").join(_piece(piece, explained) for piece in pieces)


def _piece(piece: str, explained: set[str]) -> Markup:
    term = _by_spelling().get(piece.lower())
    if term is None or term.name in explained:
        return escape(piece)
    explained.add(term.name)
    tip = f"{term.name}: {term.meaning}{f' ({term.citation})' if term.citation else ''}"
    return Markup('<dfn class="term" tabindex="0" data-tip="{}">{}</dfn>').format(tip, piece)


@cache
def _by_spelling() -> Mapping[str, Term]:
    """The term of each spelling in lower case, except those of `PLAIN`."""
    spelled = {name.lower(): term for term in TERMS for name in (term.name, *term.also)}
    return {spelling: term for spelling, term in spelled.items() if spelling not in PLAIN}


@cache
def _pattern() -> re.Pattern[str]:
    """Any term as a word of its own, the longest first; split at it, every second piece is a term."""
    spellings = sorted(map(re.escape, _by_spelling()), key=len, reverse=True)
    return re.compile(rf"(?<![\w*-])({'|'.join(spellings)})(?![\w*-])", re.IGNORECASE)
