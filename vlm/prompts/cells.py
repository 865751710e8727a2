"""What a cell of a row of prompts may be: text, a number, several answers, or options to choose from.

Numbers become text as they are written. Lists, dicts, bytes and NaN are refused where text is due.
"""

import math
import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from cli.errors import UserError
from cli.foreign_json import read_literal

MOST_OPTIONS = 26
_HALF = re.compile("[\ud800-\udfff]")


class PromptError(UserError):
    """A prompt source that cannot be read; the message names the row."""


class UnplacedPictureError(PromptError):
    """A row with more or fewer places than pictures, or with a marker that nothing is put in the place of."""


class Written(float):
    """A number of a JSON line, whose text is what the line has."""

    def __new__(cls, text: str) -> "Written":
        made = super().__new__(cls, text)
        made.text = text
        return made

    text: str

    def __str__(self) -> str:
        return self.text


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: null, an empty text, list or dict, or a dict of nulls."""
    if isinstance(value, Mapping):
        return all(is_empty(each) for each in value.values())
    return value is None or (isinstance(value, (str, bytes, list, tuple, np.ndarray)) and len(value) == 0)


def as_list(value: Any) -> list[Any]:
    """Return the entries of a list, tuple or array; anything else as the one entry."""
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]


def meant(row: Mapping[str, Any], meanings: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """Return a row with what its cells stand for, by column: such as the name of a class for its number.

    A number of 32 bits stands for the shortest decimal that is rounded to it: 0.1, and not 0.10000000149011612.
    """
    return {
        name: value if value is None or name not in meanings else meanings[name](value) for name, value in row.items()
    }


def text_of(value: Any, where: str, column: str) -> str:
    """Return a text, or a number as it is written.

    Raises:
        PromptError: the cell is neither.
    """
    if isinstance(value, str):
        refuse_halves(value, f"{where}: `{column}`")
        return str(value)
    is_number = isinstance(value, (numbers.Real, Decimal, np.bool_))
    if not is_number:
        raise PromptError(_not_text(where, column, type(value).__name__))
    if not isinstance(value, (numbers.Integral, np.bool_)) and not math.isfinite(value):
        raise PromptError(_not_text(where, column, str(value)))
    return str(value)


def refuse_halves(text: str, where: str) -> None:
    """Refuse a text with one of the two halves that some encodings write a character in; no tokenizer takes it.

    Raises:
        PromptError: it has one.
    """
    if half := _HALF.search(text):
        raise PromptError(f"`prompts`: {where} holds {half.group()!r}, half of a character: mend the text's encoding")


def _not_text(where: str, column: str, got: str) -> str:
    return (
        f"`prompts`: {where}: `{column}` must be text or a number, got {got};"
        f" leave it null where there is none, or leave it out with --columns ignore={column}"
    )


def answers_of(value: Any, where: str, column: str) -> tuple[str, ...]:
    """Return the answers that are accepted: one, or those of a list without its nulls; none for an empty cell.

    Raises:
        PromptError: an entry is neither text nor a number.
    """
    if is_empty(value):
        return ()
    texts = [text_of(entry, where, column).strip() for entry in as_list(value) if entry is not None]
    return tuple(dict.fromkeys(text for text in texts if text))


class Options:
    """The options of a choice: lines to be appended to the question, and the letters that stand for them.

    entries: pairs of a letter and a text; none where the options are one text, whose letters are read off.
    """

    def __init__(self, entries: Sequence[tuple[str, str]], text: str = "") -> None:
        self.entries = tuple(entries)
        self.text = text or "\n".join(f"{letter}. {words}" for letter, words in entries)
        labels = re.findall(r"(?:^|[\s;,(])([A-Z])[.):]", text)
        self.letters = tuple(letter for letter, _ in entries) or tuple(dict.fromkeys(labels))

    def are_in(self, question: str) -> bool:
        """Whether a question states every option, each behind its letter; letters alone need not be stated."""
        if self.entries and all(letter == words for letter, words in self.entries):
            return True
        if not self.entries:
            return self.text in question
        return all(
            re.search(rf"(?<!\w)\(?{re.escape(letter)}\s*[.):]\)?\s*{re.escape(words)}", question)
            for letter, words in self.entries
        )

    def accepted(self, answers: Sequence[str], is_index: bool) -> tuple[str, ...] | None:
        """Return each answer's letter and, where no letter is mistaken for it, its words; None if one is no option.

        is_index: whether an answer is a whole number, which may count the options from 0.
        """
        accepted = [self._accepted(answer, is_index) for answer in answers]
        return None if None in accepted else tuple(dict.fromkeys(each for one in accepted for each in one or ()))

    def _accepted(self, answer: str, is_index: bool) -> tuple[str, ...] | None:
        words, places = [text for _, text in self.entries], {letter: n for n, letter in enumerate(self.letters)}
        bare = re.sub(r"^\((\w+)\)$", r"\1", answer.strip().rstrip(".)" if "(" not in answer else ".")).strip()
        bare = bare.upper() if len(bare) == 1 and bare not in places else bare
        by_place = int(answer) if is_index and 0 <= int(answer) < len(words) else None
        if lettered := re.fullmatch(r"\(?([A-Z])\s*[.):]\)?\s+(.+)", answer.strip(), re.DOTALL):
            place = places.get(lettered[1])
            return (
                self._names(place) if place is not None and words[place : place + 1] == [lettered[2].strip()] else None
            )
        if answer in words:
            meant = {n for n, text in enumerate(words) if text == answer} | {by_place, places.get(bare)} - {None}
            return self._names(words.index(answer)) if len(meant) == 1 else None
        if bare in places:
            return self._names(places[bare])
        if by_place is not None:
            return self._names(by_place)
        several = re.split(r"\s*,\s*|\s+|(?<=[A-Z])(?=[A-Z])", bare)
        if not several or any(letter not in places for letter in several):
            return None
        return tuple(dict.fromkeys((answer, "".join(several), ", ".join(several))))

    def _names(self, place: int) -> tuple[str, ...]:
        letter = self.letters[place]
        words = self.entries[place][1] if self.entries else ""
        is_told = bool(words) and words.upper() not in self.letters and [w for _, w in self.entries].count(words) == 1
        return (letter, words) if is_told else (letter,)


def options_of(value: Any, where: str, column: str) -> Options | None:
    """Return the options of a choice, from a list, a dict by letter, a list written as text, or a text; None if empty.

    Raises:
        PromptError: an option is neither text nor a number, or there are more than letters.
    """
    if isinstance(value, str) and re.match(r"\s*(?:\[|\{\s*[\"'])", value):
        try:
            value = read_literal(value.strip())
        except ValueError:
            raise PromptError(
                f"`prompts`: {where}: `{column}` begins as a list or a dict but is none, got {value!r:.60}"
            ) from None
    if is_empty(value):
        return None
    if isinstance(value, str):
        return Options((), value.strip())
    if isinstance(value, Mapping) and {*value} == {"label", "text"}:
        letters = list(zip(map(str, as_list(value["label"])), as_list(value["text"]), strict=False))
    elif isinstance(value, Mapping):
        letters = [(str(key), entry) for key, entry in value.items() if not is_empty(entry)]
    else:
        entries = as_list(value)
        while is_empty(entries[-1]) and not all(map(is_empty, entries)):  # tables fill lists up
            entries.pop()
        letters = [(chr(ord("A") + place), entry) for place, entry in enumerate(entries)]
    if len(letters) > MOST_OPTIONS:
        raise PromptError(
            f"`prompts`: {where}: `{column}` must hold at most {MOST_OPTIONS} options, got {len(letters)}"
        )
    return Options([(letter, _unlabelled(text_of(entry, where, column), letter)) for letter, entry in letters])


def _unlabelled(text: str, letter: str) -> str:
    """An option without the letter that it begins with, if that is its own."""
    return re.sub(rf"^\s*\(?{re.escape(letter)}\s*[.):]\)?\s+", "", text).strip()
