r"""Numbers read exactly, and answers split into a value and a unit.

`number` reads digits with thousands (`1,234`, `1 234`), decimals, fractions (`\frac{1}{2}`, `1/2`), mixed numbers
(`1\frac{1}{2}`, `1 1/2`), repeating decimals (`0.\overline{3}`), powers of ten (`1.2\times 10^{3}`, `1.2e3`) and words
of size (`5 million`). Values are fractions: nothing is rounded.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from vlm.answers import units
from vlm.answers.spelling import enclosed, unset
from vlm.answers.units import Unit

_LONGEST = 4000
_POWER_LIMIT = 9999  # of ten; what is beyond is not read as a number

_DIGITS = r"(?:[0-9]{1,3}(?:[,'][0-9]{3})+|[0-9]{1,3}(?: [0-9]{3})+|[0-9]+)(?![0-9])"
_DECIMAL = rf"(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)"
_INSIDE = rf"\{{\s*([-+]?\s*{_DECIMAL})\s*\}}"
_FRACTION = rf"\\frac\s*(?:{_INSIDE}|([0-9]))\s*(?:{_INSIDE}|([0-9]))"
_TEN = r"10\s*\^\s*(?:\{\s*([-+]?\s*[0-9]+)\s*\}|([-+]?[0-9]+))"
_SIGN = r"([-+]?)\s*"

_PLAIN = re.compile(rf"{_SIGN}({_DECIMAL})(?:[eE]([-+]?[0-9]+)|\s*(?:\\times|\\cdot|\*|x)\s*{_TEN})?")
_POWER = re.compile(rf"{_SIGN}{_TEN}")
_RATIO = re.compile(rf"{_SIGN}(?:{_FRACTION}|({_DECIMAL})\s*/\s*([-+]?{_DECIMAL}))")
_MIXED = re.compile(rf"{_SIGN}({_DIGITS})\s*{_FRACTION}")
_MIXED_PLAIN = re.compile(rf"{_SIGN}({_DIGITS})\s+([0-9]+)\s*/\s*([0-9]+)")
_REPEATING = re.compile(rf"{_SIGN}([0-9]*)\.([0-9]*)\\(?:overline|bar)\s*(?:\{{([0-9]+)\}}|([0-9]))")
_UNIT_LETTERS = "A-Za-z\u03bc\u03a9\u20ac\xa3\xa5\u20b9\xa2"
_UNIT_STARTS = re.compile(
    rf"(?<=.)(?=\\(?:text|Omega|mu|frac)(?![A-Za-z])|\^\s*\\circ|%|\$)|(?<=[0-9}}.) ])(?=[{_UNIT_LETTERS}])"
)
_CANDIDATES = 8
_PREPOSITION = re.compile(r"in(?:[0-9]|\.?$)")
_LABEL = re.compile(r"\\text\s*\{\s*[A-Za-z][a-z]+(?: [a-z]+)*\s*\}")
_CHANGES = re.compile(
    r"\b(?:and|or|to|not|than|of|over|plus|minus|times|squared|cubed|more|less|per|base|mod|pi|st|nd|rd|th|"
    r"(?:dozen|hundred|thousand|million|billion|trillion|pair|half|third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|"
    r"tenth|hundredth|thousandth)s?|halves)\b"
)
_SIZES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SIZED = re.compile(rf"(.*[0-9}}])\s*({'|'.join(_SIZES)})", re.DOTALL)


@dataclass(frozen=True)
class Quantity:
    """An answer as a value and its unit.

    text: the value as written; number: the value, None if it has to be calculated; unit: empty if there is none.
    """

    text: str
    number: Fraction | None
    unit: Unit = units.NONE


def number(text: str) -> Fraction | None:
    """Return the exact value of a number in plain spelling; None of anything else."""
    text = unset(text)
    while len(text) > 2 and enclosed(text) and text[0] + text[-1] in ("()", "{}"):
        text = text[1:-1].strip()
    if not text or len(text) > _LONGEST or not any(char in "0123456789" for char in text):
        return None
    sized = _SIZED.fullmatch(text)
    if sized:
        base = number(sized.group(1))
        return None if base is None else base * 10 ** _SIZES[sized.group(2)]
    try:
        return _read(text)
    except ZeroDivisionError:
        return None


def _read(text: str) -> Fraction | None:
    for pattern, value in _READERS:
        match = pattern.fullmatch(text)
        if match:
            sign, *groups = match.groups()
            size = value(*(group for group in groups if group is not None))
            return size if size is None or sign != "-" else -size
    return None


def _digits(text: str) -> Fraction:
    return Fraction(Decimal(re.sub("[ ,']", "", text)))


def _plain(digits: str, power: str = "0") -> Fraction | None:
    scale = _power(power)
    return None if scale is None else _digits(digits) * scale


def _power(power: str) -> Fraction | None:
    exponent = int(power.replace(" ", "")) if len(power) < 9 else _POWER_LIMIT + 1
    return Fraction(10) ** exponent if abs(exponent) <= _POWER_LIMIT else None


def _ratio(above: str, below: str) -> Fraction:
    return _digits(above) / _digits(below)


def _mixed(whole: str, above: str, below: str) -> Fraction:
    part = _ratio(above, below)
    return _digits(whole) + part if 0 < part < 1 else _digits(whole) * part


def _mixed_plain(whole: str, above: str, below: str) -> Fraction | None:
    return _mixed(whole, above, below) if 0 < _ratio(above, below) < 1 else None  # `2 7/3` may be many things


def _repeating(whole: str, fixed: str, repeated: str) -> Fraction:
    start = Fraction(int(whole + fixed or "0"))
    period = Fraction(int(repeated), 10 ** len(repeated) - 1)
    return (start + period) / 10 ** len(fixed)


# A space between two groups of digits in front of a slash is that of a mixed number: it comes before `_RATIO`.
_READERS: list[tuple[re.Pattern[str], Callable[..., Fraction | None]]] = [
    (_PLAIN, _plain),
    (_MIXED_PLAIN, _mixed_plain),
    (_RATIO, _ratio),
    (_MIXED, _mixed),
    (_POWER, _power),
    (_REPEATING, _repeating),
]


def quantity(text: str) -> Quantity:
    """Split an answer in plain spelling into value and unit."""
    rest, prefix = units.currency(text)
    value = number(rest)
    if value is not None or prefix:
        return Quantity(rest, value, prefix)
    for place in [start.start() for start in _UNIT_STARTS.finditer(text)][-_CANDIDATES:]:
        rest, behind = text[:place].strip(), text[place:].strip()
        value = number(rest)
        measured = units.unit(unset(behind)) if _may_be_unit(text, place, value is None) else None
        if measured is None and value is not None:
            measured = _label(behind)
        if measured is not None:
            return Quantity(rest, value, measured)
    return Quantity(text, None)


def _may_be_unit(text: str, place: int, is_formula: bool) -> bool:
    """Whether letters at a place can be a unit: `4m` and `\\pi m` are products, `4 in` has a word behind it."""
    if not text[place].isalpha():
        return not is_formula or is_calculable(text[:place])
    word = re.match(r"[^\W\d_]+", text[place:])
    length = len(word.group()) if word else 0
    if is_formula:
        return length > 1 and text[place - 1] == " " and is_calculable(text[:place])
    return (length > 1 or text[place - 1] == " ") and not _PREPOSITION.match(text[place:])


def _label(behind: str) -> Unit | None:
    """The words behind a number that are set as text; None if they say another number."""
    is_label = _LABEL.fullmatch(behind) and not _CHANGES.search(behind)
    return frozenset({(unset(behind).casefold(), 1)}) if is_label else None


def is_calculable(text: str) -> bool:
    """Whether a text holds digits or LaTeX, and no plain words."""
    letters = re.sub(r"\\[A-Za-z]+", " ", text)
    return ("\\" in text or any(char in "0123456789" for char in text)) and not re.search("[A-Za-z]{2}", letters)
