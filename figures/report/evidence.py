"""Which evidence each line of the card rests on, and the names under which sections are linked."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

TRIAL, EXPLORER, PICTURES = "Steps that were tried", "Explore the forecast", "What the verdict rests on"
TOKENS, CLASSES = "Token by token", "Where the losses lie, by class of token"

RESTS_ON: Final[Mapping[str, Sequence[str]]] = {
    "verdict": ("Does the teacher see?", "Does the student look?", "Where the gap lies", TRIAL),
    "objective": (TRIAL, "Where the gap lies"),
    "gamma": ("How hard to steer", "What a first step does", EXPLORER),
    "lambda": ("What a first step does", EXPLORER, TRIAL),
    "prior": ("What a first step does", "How the gradients stand", TRIAL),
}
"""By setting of the card, the titles of sections, the most telling first."""


def title(question: str) -> str:
    """Return a question as a heading.

    >>> title("does the teacher see"), title("where the gap lies")
    ('Does the teacher see?', 'Where the gap lies')
    """
    asked = "?" if question.startswith(("do ", "does ")) else ""
    return f"{question[:1].upper()}{question[1:]}{asked}"


def anchor(title: str) -> str:
    """Return the name of a section in links.

    >>> anchor("Does the teacher see?")
    'does-the-teacher-see'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"


def links(setting: str, titles: Collection[str]) -> list[str]:
    """Return the titles that a setting rests on, of those that the page has."""
    return [title for title in RESTS_ON.get(setting, ()) if title in titles]
