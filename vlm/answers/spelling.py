r"""One spelling for answers: Unicode signs, LaTeX dressing and marks of bold print are written one way.

`plain` maps `√2`, `\sqrt2` and `\sqrt{2}` to `\sqrt{2}`, `½` and `\dfrac12` to fractions, and full-width digits to
digits. All fonts become `\text{...}`, which `unset` removes. A separator of
thousands that can be nothing else, as in `1\,234` or `1{,}234`, becomes an apostrophe.
"""

import re
import unicodedata

_SIGNS = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d", "-"),
    "\u2044": "/",
    "\u00d7": r"\times ",
    "\u00f7": r"\div ",
    "\u00b1": r"\pm ",
    "\u2213": r"\mp ",
    "\u221a": r"\sqrt",
    "\u221b": r"\sqrt[3]",
    "\u221e": r"\infty ",
    "\u2264": r"\le ",
    "\u2265": r"\ge ",
    "\u2260": r"\ne ",
    "\u2248": r"\approx ",
    "\u222a": r"\cup ",
    "\u2229": r"\cap ",
    "\u2205": r"\emptyset ",
    "\u2208": r"\in ",
    "\u2220": r"\angle ",
    "\u00b0": r"^\circ ",
    "\u03bc": "\u03bc",  # micro: part of a unit
    "\u03a9": "\u03a9",  # ohm
    **dict.fromkeys("\u00b7\u22c5\u2219", r"\cdot "),
    **dict.fromkeys("\u2018\u2019\u02bc", "'"),
    **dict.fromkeys("\u201c\u201d", '"'),
    "\u3002": ".",
    "\u3001": ",",
}
_RAISED = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207f"
_LOWERED = "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089"
_FONTS = (
    "textbf|textrm|textit|textsf|texttt|textnormal|mathrm|mathbf|mathit|mathsf|mbox|hbox|bm|boldsymbol|emph|underline"
)
_FUNCTIONS = r"a?(?:rc)?(?:sin|cos|tan|cot|sec|csc)h?|log|ln|exp|max|min|gcd|lcm|det|arg|tr|rank|Re|Im"
_REWRITES = [
    (r"\\(?:left|right)(?![A-Za-z])\s*\.(?!\d)", ""),
    (r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits)(?![A-Za-z])", ""),
    (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    (rf"\\(?:{_FONTS})\s*\{{", r"\\text{"),
    (r"\{\\(?:rm|bf|it)\s+([^{}]*)\}", r"\\text{\1}"),
    (rf"\\operatorname\s*\{{(?!(?:{_FUNCTIONS})\}})", r"\\text{"),
    (r"\\(?:text)?color\s*\{[^{}]*\}", ""),
    (r"\\mathbb\s+([A-Z])", r"\\mathbb{\1}"),
    (r"\\lbrace(?![A-Za-z])", r"\\{"),
    (r"\\rbrace(?![A-Za-z])", r"\\}"),
    (r"\\geq(?![A-Za-z])", r"\\ge"),
    (r"\\leq(?![A-Za-z])", r"\\le"),
    (r"(?<=\d)(?:\{,\}|,\\!\s*|\\[,;:]|\u2009|\u202f)(?=\d{3}(?!\d))", "'"),  # thousands, beyond doubt
    (r"\{,\}|,\\!", ","),
    (r"(?<=[0-9A-Za-z)])\*\*(?=[0-9A-Za-z(-])", "^"),
    (r"\^\s*(-[0-9]+|[0-9]{2,}|-[A-Za-z])", r"^{\1}"),
    (r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi "),
    (r"\\!", ""),
    (r"(?<!\\)\\[,;:> ]|~|\\q?quad(?![A-Za-z])", " "),
    (r"\\([$%])", r"\1"),
    (r"(?:\{\})?\^\s*\{\s*\\circ\s*\}|\\degree(?![A-Za-z])|\^\s*\\circ", r"^\\circ "),
]
_BOLD = re.compile(r"(?<![\w)}\]*])(\*\*|__|`)(?=\S)((?:(?!\1).)+?)(?<=\S)\1(?![\w(*])", re.DOTALL)
_BOLD_LETTER = re.compile(r"^\s*(?:\*\*|__|\\text\{)\(?([A-Za-z])\)?(?:\*\*|__|\})(?=\s|$)")
_SEPARATOR = re.compile(r"\\text\{\s*,?\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])")
_OPENS, _CLOSES = "([{", ")]}"


def plain(text: str) -> str:
    """Return an answer in the one spelling, single spaces inside."""
    text = _BOLD.sub(r"\2", _BOLD_LETTER.sub(r"(\1)", text))
    text = _ascii_signs(text)
    for pattern, replacement in _COMPILED:
        text = pattern.sub(replacement, text)
    return _BOLD_LETTER.sub(r"(\1)", " ".join(text.split()))


_COMPILED = [(re.compile(pattern), replacement) for pattern, replacement in _REWRITES]


def _ascii_signs(text: str) -> str:
    if text.isascii():
        return text
    text = re.sub(f"[{_RAISED}]+", lambda run: "^{" + _folded(run.group()) + "}", text)
    text = re.sub(f"[{_LOWERED}]+", lambda run: "_{" + _folded(run.group()) + "}", text)
    text = re.sub(r"([\u221a\u221b])\s*(?:\(([^()]*)\)|([0-9.]+|[A-Za-z]))", r"\1{\2\3}", text)
    return "".join(_sign(char) for char in text)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("\u2212", "-")


def _sign(char: str) -> str:
    if char in "\u2009\u202f" or char.isascii():
        return char
    if char in _SIGNS:
        return _SIGNS[char]
    kind = unicodedata.category(char)
    if kind == "Nd":
        return str(unicodedata.decimal(char))
    if kind == "Cf":  # without width
        return ""
    name = re.fullmatch("GREEK SMALL LETTER ([A-Z]+)", unicodedata.name(char, ""))
    if name:
        return "\\" + name.group(1).lower().replace("lamda", "lambda") + " "
    folded = unicodedata.normalize("NFKC", char)
    fraction = re.fullmatch("([0-9]+)\u2044([0-9]+)", folded)
    if fraction:
        return rf"\frac{{{fraction[1]}}}{{{fraction[2]}}}"
    return "".join(_SIGNS.get(part, part) for part in folded)


def unset(text: str) -> str:
    r"""Return a text without `\text{...}` around its words."""
    previous = None
    while previous != text:
        previous, text = text, re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", text)
    return " ".join(text.split())


def squeezed(text: str) -> str:
    """Return a text without the spaces that separate no two words and no two numbers."""
    return re.sub(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])|(?<=[0-9]) (?=[A-Za-z])", "", unset(text))


def depth(text: str) -> int:
    """Return how many brackets are open at once, at most."""
    deepest = level = 0
    for char in text:
        level += (char in _OPENS) - (char in _CLOSES)
        deepest = max(deepest, level)
    return deepest


def enclosed(text: str) -> bool:
    """Whether the first sign is a bracket that the last sign closes; `[1, 2)` counts."""
    level = 0
    for place, char in enumerate(text):
        level += (char in _OPENS) - (char in _CLOSES)
        if level <= 0:
            return place == len(text) - 1 and place > 0
    return False


def split(text: str, marks: str) -> list[str]:
    """Split a text at any of the marks outside brackets."""
    pieces, level, start = [], 0, 0
    for place, char in enumerate(text):
        level += (char in _OPENS) - (char in _CLOSES)
        if char in marks and level == 0:
            pieces.append(text[start:place].strip())
            start = place + 1
    return [*pieces, text[start:].strip()]


def items(text: str) -> list[str]:
    """Split a list without brackets at its commas, semicolons, `and` and `or`.

    With a space behind some comma, a comma without one in front of three digits belongs to a number.
    """
    if re.search(r",\s", text):
        text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "'", text)
    return split(re.sub(r",\s*,", ",", _SEPARATOR.sub(",", text)), ",;")
