r"""Whether two answers in plain spelling are the same: the rules that `vlm.answers.judge` lists, one function each.

A rule returns None where it does not apply. `by_value` compares what must be calculated, response and reference in
LaTeX.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from vlm.answers import units
from vlm.answers.quantities import Quantity, number, quantity
from vlm.answers.spelling import depth, enclosed, items, split, squeezed, unset

ByValue = Callable[[str, str], bool]

LONGEST = 2000
"""Signs of an answer; a longer one is compared as a text alone."""
_DEEPEST, _MOST_ITEMS = 40, 100

_LETTER = re.compile(r"[(\[{]?\s*([A-Za-z])\s*[)\]}]?\s*[.:]?")
_OPTION = re.compile(
    r"(?:[(\[]([A-Za-z])[)\]][.:]?|([A-Za-z])[.):]|([A-Z])\s+-(?=\s+[A-Za-z]{2}|\s+a\s+[a-z]{2}))\s(?P<words>.*)",
    re.DOTALL,
)
_ANNOUNCED = re.compile(
    r"(?:the\s+)?(?:correct\s+|final\s+)?(?:option|choice|answer)\s*(?:is\b)?\s*:?\s*", re.IGNORECASE
)
_SECOND_CHOICE = re.compile(r"(?:^|\s)(?:\([A-Z]\)|[A-Z][).:])(?:\s|$)|^(?:[A-Z]$|(?:and|or)\b)")
_OPERATOR = re.compile(r"[\\^=+*()]|(?<!<)/")
_STRUCTURE = re.compile(r"[_<>\[\]{}|,;]")
_CALCULATED = re.compile(r"[0-9\\^_=+*/<>]")
_RELATION = re.compile(r"[=<>]|\\(?:le|ge|ne|cup|cap|setminus|pm|begin)(?![A-Za-z])")
_VERBATIM = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}|[0-9]{1,2}([/.-])[0-9]{1,2}\1(?:[0-9]{4}|[0-9]{2})|[0-9.]+(?:\s*:\s*[0-9.]+)+"
)
_BASED = re.compile(r"\(?\s*([0-9A-Fa-f]+)\s*\)?\s*_\s*\{?\s*([0-9]+|[a-z]+)\s*\}?")
_NAME = re.compile(
    r"(?:\\(?!frac|sqrt|pi(?![a-z])|infty|times|cdot|div|pm|mp|begin|int|sum|log|ln|sin|cos|tan|exp)[A-Za-z]+|[A-Za-z']|"
    r"(?<=[A-Za-z}])_\s*(?:\{[^{}]*\}|[0-9A-Za-z])|[(),{}\s])+"
)
_MEMBER = re.compile(r"[A-Za-z]\s*\\in(?![A-Za-z])\s*")
_EMPTY = re.compile(r"\\(?:emptyset|varnothing)|\\\{\s*\\\}|\{\s*\}")


def same(response: str, answer: str, by_value: ByValue) -> bool:
    """Whether an answer equals the reference, both in plain spelling."""
    if max(len(response), len(answer)) > 2 * LONGEST:
        return response == answer
    if squeezed(response) == squeezed(answer):
        return True
    if max(depth(response), depth(answer)) > _DEEPEST:
        return False
    for rule in (_choice, _numbers, _words, _verbatim, _lists, _equations):
        verdict = rule(response, answer, by_value)
        if verdict is not None:
            return verdict
    return _formulas(response, answer, by_value)


def _choice(response: str, answer: str, by_value: ByValue) -> bool | None:
    """Letters of a choice; None where neither is a letter alone, or the reference is no choice."""
    response, answer = unset(response), unset(answer)
    alone, expected = _LETTER.fullmatch(response), _LETTER.fullmatch(answer)
    if expected is None and alone is not None:
        expected = _option(answer)
    return None if expected is None else _letter(alone or _option(response)) == _letter(expected)


def _option(text: str) -> re.Match[str] | None:
    """A letter that is announced or has the option's words behind it, and no second letter."""
    announced = _ANNOUNCED.match(text)
    if announced and announced.end():
        text = text[announced.end() :]
        if letter := _LETTER.fullmatch(text):
            return letter
    option = _OPTION.fullmatch(text)
    return None if option is None or _SECOND_CHOICE.search(option["words"]) else option


def _letter(choice: re.Match[str] | None) -> str | None:
    return next(group for group in choice.groups() if group).upper() if choice else None


def _numbers(response: str, answer: str, by_value: ByValue) -> bool | None:
    first, second = quantity(response), quantity(answer)
    if first.number is None or second.number is None:
        return None
    return _units_agree(first, second) and _value(first) == _value(second) or _sign_left_out(first, second)


def _units_agree(first: Quantity, second: Quantity) -> bool:
    """Whether the units are equal or one is left out."""
    return first.unit == second.unit or units.NONE in (first.unit, second.unit)


def _value(measured: Quantity) -> Fraction | None:
    return None if measured.number is None else measured.number / (100 if measured.unit == units.PERCENT else 1)


def _sign_left_out(first: Quantity, second: Quantity) -> bool:
    """Whether one number stands with a percent sign and the same number, above 1, without."""
    is_pair = {first.unit, second.unit} == {units.NONE, units.PERCENT}
    return is_pair and first.number == second.number and first.number is not None and abs(first.number) > 1


def _words(response: str, answer: str, by_value: ByValue) -> bool | None:
    if quantity(response).unit or quantity(answer).unit:
        return None  # mW is not MW
    return squeezed(response).casefold() == squeezed(answer).casefold() or None


def _verbatim(response: str, answer: str, by_value: ByValue) -> bool | None:
    """Dates, times and ratios, which are no formulas; numerals of a base by digits and base."""
    if any(_VERBATIM.fullmatch(unset(text)) for text in (response, answer)):
        return False
    based = [_BASED.fullmatch(unset(text)) for text in (response, answer)]
    if not any(based):
        return None
    (digits, base), (others, other) = (_numeral(text) for text in (response, answer))
    return base == other and digits == others


def _numeral(text: str) -> tuple[str, str]:
    """Digits and base; the base is ten where it is not stated."""
    based = _BASED.fullmatch(unset(text))
    digits, base = based.groups() if based else (unset(text), "10")
    names = {"two": "2", "three": "3", "five": "5", "eight": "8", "ten": "10", "sixteen": "16"}
    return digits.lstrip("0").upper(), names.get(base, base)


def _lists(response: str, answer: str, by_value: ByValue) -> bool | None:
    first, second = _listed(response), _listed(answer)
    if first is None and second is None:
        return None
    if first is None or second is None:
        return _one_item(response, answer, first or second, by_value)
    (marks, members), (others, expected) = first, second
    both = {marks, others}
    if len(both) > 1 and ("" not in both or (both & {"[]", "[)", "(]"} and len(members) < 3)):
        return False
    if both <= {"", "{}"} and not _in_order(members, expected, both):
        return _same_in_any_order(members, expected, by_value, repeats="{}" not in both)
    return len(members) == len(expected) and all(
        same(one, two, by_value) for one, two in zip(members, expected, strict=True)
    )


def _one_item(response: str, answer: str, listed: tuple[str, list[str]] | None, by_value: ByValue) -> bool | None:
    """What a list is to an answer that is none: only a set of one item equals it; a relation has to be solved."""
    if any(_RELATION.search(text) and _listed(text) is None for text in (response, answer)):
        return None
    if listed is None or listed[0] != "{}" or len(listed[1]) != 1:
        return False
    return same(listed[1][0] if _listed(response) else response, listed[1][0] if _listed(answer) else answer, by_value)


def _listed(text: str) -> tuple[str, list[str]] | None:
    """The brackets and the items of a list; no brackets are ""; None if it is none."""
    sides = split(text, "=")
    if len(sides) < 3 and quantity(sides[-1]).number is not None:  # `x = 1,234`
        return None
    text = text[member.end() :] if (member := _MEMBER.match(text)) else text
    if _EMPTY.fullmatch(text):
        return "{}", []
    if text.startswith("\\{") and text.endswith("\\}") and enclosed(text[1:]):
        return "{}", items(text[2:-2])
    if enclosed(text):
        members, marks = items(text[1:-1]), text[0] + text[-1]
        return (marks, members) if len(members) > 1 or marks == "[]" else None
    members = items(text)
    if len(members) == 1 and text.count("\\pm") == 1 and "=" not in text:
        members = [text.replace("\\pm", sign).removeprefix("+").strip() for sign in "+-"]
    return ("", members) if len(members) > 1 and all(members) else None


def _in_order(members: Sequence[str], expected: Sequence[str], marks: set[str]) -> bool:
    """Whether the order counts: of words without brackets, and of values for several names."""
    if len(members) > _MOST_ITEMS:
        return True
    names = [{split(item, "=")[0] for item in side if "=" in item} for side in (members, expected)]
    if bool(names[0]) != bool(names[1]) and max(map(len, names)) > 1:
        return True
    return marks == {""} and not all(_CALCULATED.search(item) or len(item) == 1 for item in (*members, *expected))


def _same_in_any_order(members: Sequence[str], expected: Sequence[str], by_value: ByValue, *, repeats: bool) -> bool:
    """Whether each item has its equal; each of them only once where `repeats` count."""
    left = list(expected)
    for member in members:
        place = next((n for n, item in enumerate(left) if same(member, item, by_value)), None)
        if place is None:
            return False
        if repeats:
            del left[place]
    return not left if repeats else all(any(same(one, two, by_value) for one in members) for two in expected)


def _equations(response: str, answer: str, by_value: ByValue) -> bool | None:
    sides, expected = _sides(response), _sides(answer)
    if len(sides) == len(expected) == 1:
        return None
    if len(expected) > 1 and (not _is_name(expected[0]) or (len(sides) > 1 and not _is_name(sides[0]))):
        return None if len(sides) > 1 else False
    if len(sides) > 1 and len(expected) > 1 and squeezed(sides[0]) != squeezed(expected[0]):
        return False if number(sides[-1]) is not None else None
    value = expected[-1]
    first = [] if len(sides) > 1 and _is_name(sides[0]) else sides[:1]
    working = [side for side in sides[1:-1] if _letters(side) <= _letters(value)]
    return all(same(side, value, by_value) for side in (*first, *working, sides[-1]))


def _sides(text: str) -> list[str]:
    """The sides of an equation; one of anything else."""
    return [text] if re.search(r"[<>!]=", text) else split(text, "=")


def _is_name(text: str) -> bool:
    return bool(text) and _NAME.fullmatch(unset(text)) is not None


def _letters(text: str) -> set[str]:
    return set(re.findall(r"(?<![A-Za-z\\])[A-Za-z]+", text))


def _formulas(response: str, answer: str, by_value: ByValue) -> bool:
    first, second = quantity(response), quantity(answer)
    if first.unit != second.unit and (not _units_agree(first, second) or units.PERCENT in (first.unit, second.unit)):
        return False
    written = _written(first), _written(second)
    if squeezed(written[0]) == squeezed(written[1]):
        return True
    marked = _OPERATOR.search(" ".join(written)) or (second.number is None and _STRUCTURE.search(" ".join(written)))
    return bool(marked) and all(_CALCULATED.search(text) for text in written) and by_value(*written)


def _written(measured: Quantity) -> str:
    """A value as LaTeX: a number by its exact value unless it is very long, products of numbers with their sign."""
    value = measured.number
    if value is None or max(abs(value.numerator), value.denominator).bit_length() > 200:
        joined = re.sub(r"(?<=[0-9])'(?=[0-9]{3})", "", measured.text)
        return re.sub(r"(?<=[0-9)])\s*\((?=[-+]?[0-9.]+\))", r"\\cdot (", joined)
    return str(value) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
