r"""Units of measure, and the unit at the end of an answer or the currency at its start.

A unit is a product of powers: `cm`, `m^2`, `km/h`, `square feet`, `\text{N}\cdot\text{m}`. Its spellings are one unit,
`cm`, `centimetres`; different units are never converted into each other.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

Unit = frozenset[tuple[str, int]]
"""The powers of a unit; empty for a number without one."""

NONE: Unit = frozenset()
PERCENT: Unit = frozenset({("%", 1)})

# Each line: the name, then its other spellings. Capitals count in spellings of up to three letters.
_NAMES = """
mm millimeter millimetre
cm centimeter centimetre
dm decimeter decimetre
m meter metre
km kilometer kilometre
μm um micrometer micrometre
nm nanometer nanometre
inch in inches
foot ft feet
yard yd
mile mi
mg milligram
g gram gm
kg kilogram kgs
t ton tonne
lb pound lbs
oz ounce
ms millisecond
s second sec secs
min minute mins
h hour hr hrs
day
week
month
year yr yrs
mL ml milliliter millilitre
L l liter litre
gallon gal
acre
hectare ha
N newton
J joule
kJ kilojoule
cal calorie
kcal kilocalorie
eV
W watt
mW milliwatt
kW kilowatt
MW megawatt
kWh
V volt
A amp ampere
mA milliampere
Ω ohm
Pa pascal
kPa kilopascal
C coulomb
F
Hz hertz
kHz kilohertz
MHz megahertz
GHz gigahertz
K kelvin
mol mole
rad radian
degree deg °
degC celsius centigrade
degF fahrenheit
dollar $ USD US$
euro € EUR
GBP £
yen ¥ yuan CNY RMB JPY
rupee ₹ Rs INR
cent ¢ cents
unit
% percent percentage pct
"""


def _degrees(scale: re.Match[str]) -> str:
    return "deg" + scale.group(1)[0].upper()


_SPELT_OUT: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"\1/\2"),
    (r"\\Omega(?![A-Za-z])", "\u03a9"),
    (r"\\mu(?![A-Za-z])\s*", "\u03bc"),
    (r"\^\s*\\circ\s*([CF])(?![A-Za-z])", r" deg\1 "),
    (r"\^\s*\\circ", " degree "),
    (r"(?i)degrees?\s+(celsius|fahrenheit|[cf](?![a-z]))", _degrees),
    (r"per\s+cent(?![a-z])", "%"),
    (r"\\cdot(?![A-Za-z])|\*|(?<=[a-z])\.", " "),
    (r"(?<![A-Za-z])mph(?![A-Za-z])", "mile/h"),
    (r"(?<![A-Za-z])(?:kph|kmh|kmph)(?![A-Za-z])", "km/h"),
    (r"(?<![A-Za-z])cc(?![A-Za-z])", "cm^3"),
]
_TOKEN = re.compile(r"[A-Za-zμΩ%$€£¥₹¢°]+|\^\{?\s*(-?[0-9])\s*\}?|(?<=[A-Za-z])([0-9])|/|\S")
_CURRENCY = re.compile(r"([-+]?)\s*(US\$|USD|EUR|GBP|CNY|INR|Rs\.?|[$€£¥₹])\s*(?=[-+]?\s*[.0-9\\])")
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_POWERS_BEHIND = {"squared": 2, "cubed": 3}


def _spellings() -> Mapping[str, str]:
    table = {}
    for line in _NAMES.split("\n"):
        for spelling in line.split():
            table[spelling] = line.split()[0]
            if len(spelling) > 2:
                table[spelling + "s"] = line.split()[0]
    return table


_UNITS = _spellings()


def unit(text: str) -> Unit | None:
    """Return the unit that a text without fonts spells; None if it is none."""
    factors: list[tuple[str, int]] = []
    sign, power = 1, 1
    for token in _tokens(text):
        name = _UNITS.get(token) or _UNITS.get(token.casefold() if len(token) > 1 else "")
        if token in ("/", "per"):
            sign = -1
        elif token in _POWERS:
            power = _POWERS[token]
        elif name is not None:
            factors.append((name, sign * power))
            power = 1
        elif factors and (token in _POWERS_BEHIND or token[:1] == "^" != token):
            name, power_so_far = factors.pop()
            factors.append((name, power_so_far * (_POWERS_BEHIND.get(token) or int(token[1:]))))
        else:
            return None
    total: Counter[str] = Counter()
    for name, exponent in factors:
        total[name] += exponent
    return frozenset((name, n) for name, n in total.items() if n) or None


def _tokens(text: str) -> Iterator[str]:
    for pattern, replacement in _SPELT_OUT:
        text = re.sub(pattern, replacement, text)
    for token in _TOKEN.finditer(text):
        power = token.group(1) or token.group(2)
        yield f"^{power}" if power else token.group()


def currency(text: str) -> tuple[str, Unit]:
    """Return an answer without the currency it begins with, and that currency."""
    start = _CURRENCY.match(text)
    if start is None:
        return text, NONE
    return start.group(1) + text[start.end() :], unit(start.group(2).rstrip(".")) or NONE
