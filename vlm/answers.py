r"""Read the answer off a response and judge it.

The answer is what the last `\boxed{}` holds. `$ $`, `\( \)`, `\text{}` and its like around it, a last full stop, and
the box and dollars that a reference answer may come in, are no part of it. Then the first rule that speaks decides:

1. Words: equal, case and spacing aside.
2. Letters of a choice, `B`, `(B)`, `B.`, `\text{B}`, of which one may stand before the option's words, as in
   `B. a dog`: equal letters.
3. Numbers: equal in value, `1,234`, `1{,}234` and `+1234.0` alike. A percent sign is a unit and is dropped: 50 % is
   50, and not 0.5.
4. Formulas: if either holds a LaTeX command or an operator, or the reference is a list, a set or an interval, and both
   hold something to calculate with: equal in value as `latex.equal` finds, in a worker process.
5. All else is wrong: a number with plain words behind it, `4 cm`, is words, and a list is no number.
"""

import re
from collections.abc import Sequence
from decimal import Decimal

from vlm import latex

_WRAPPED = re.compile(
    r"\$\$(.*)\$\$|\$([^$]*)\$|\\\((.*)\\\)|\\\[(.*)\\\]|\\(?:text|textbf|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}",
    re.DOTALL,
)
_LETTER = re.compile(r"\(?\s*([A-Za-z])\s*\)?\s*[.:]?")
_OPTION = re.compile(r"(?:\(([A-Za-z])\)[.:]?|([A-Za-z])[.):])\s.*", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.[0-9]*)?")
_OPERATOR = re.compile(r"[\\^=+*()\u00b0\u03c0\u221a\u00d7\u00f7]|(?<!<)/")
_STRUCTURE = re.compile(r"[_<>\[\]{}|,;]")
_CALCULABLE = re.compile(r"[0-9\\^_=+*/<>\u03c0\u221a]")


def boxed_answer(response: str) -> str | None:
    r"""Return what the last `\boxed{...}` holds, nested braces allowed; None where there is none or it never ends.

    A brace behind a backslash is a sign of its own, as in `\{1, 2\}`.
    """
    start = response.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for found in re.finditer(r"\\.|[{}]", response[begin:], re.DOTALL):
        depth += {"{": 1, "}": -1}.get(found.group(), 0)
        if depth == 0:
            return response[begin : begin + found.start()].strip()
    return None


def is_correct(response: str, answer: str) -> bool:
    """Whether the boxed answer of a response equals the reference answer, by the rules above."""
    given = boxed_answer(response)
    if given is None:
        return False
    given, answer = unwrapped(given), unwrapped(answer)
    decided = decided_by_rule(given, answer)
    return latex.equal(given, answer) if decided is None else decided


def is_correct_any(response: str, answers: Sequence[str]) -> bool | None:
    """Whether a response gives one of the accepted answers; None if there is none to judge by."""
    return any(is_correct(response, answer) for answer in answers) if answers else None


def unwrapped(answer: str) -> str:
    """Return an answer without what stands around it."""
    inner = boxed_answer(answer)
    text = _without_stop(answer if inner is None else inner)
    while found := _WRAPPED.fullmatch(text):
        text = _without_stop(next(group for group in found.groups() if group is not None))
    return text


def _without_stop(text: str) -> str:
    text = text.strip()
    return text[:-1].rstrip() if text.endswith(".") and not text.endswith("..") else text


def decided_by_rule(given: str, answer: str) -> bool | None:
    """Return what words, letters and numbers say of two unwrapped answers; None if they have to be calculated."""
    if given.casefold().split() == answer.casefold().split():
        return True
    letters = _letters(given, answer)
    if letters is not None:
        return letters[0] == letters[1]
    numbers = _number(given), _number(answer)
    if None not in numbers:
        return numbers[0] == numbers[1]
    marked = _OPERATOR.search(given + answer) or (numbers[1] is None and _STRUCTURE.search(given + answer))
    return None if marked and all(_CALCULABLE.search(text) for text in (given, answer)) else False


def _letters(given: str, answer: str) -> tuple[str | None, str] | None:
    """The letters of a choice, upper case; None where neither is a letter alone, or the reference is no choice."""
    alone, expected = _LETTER.fullmatch(given), _LETTER.fullmatch(answer)
    chosen = alone or _OPTION.fullmatch(given)
    if expected is None and alone is not None:
        expected = _OPTION.fullmatch(answer)
    return None if expected is None else (_first(chosen), str(_first(expected)))


def _first(found: re.Match[str] | None) -> str | None:
    return next(group for group in found.groups() if group).upper() if found else None


def _number(text: str) -> Decimal | None:
    """The value of a number; None of anything else."""
    plain = re.sub(r"\{,\}|,\\[!,]", ",", text).replace("\u2212", "-")
    plain = re.sub(r"\s*\\?%$", "", plain).strip()
    is_number = _NUMBER.fullmatch(plain) and any(c in "0123456789" for c in plain)
    return Decimal(plain.replace(",", "")) if is_number else None
