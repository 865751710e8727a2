r"""Read the answer off a response and judge it.

The answer is what the last `\boxed{}` or `\fbox{}` holds. `$ $`, `\( \)`, `\text{}` and its like around it, quotes,
marks of bold print, a last full stop, and the box that a reference may come in, are no part of it. Both texts are
brought to one spelling of Unicode and LaTeX (`vlm.answers.spelling`). Then the first rule of `vlm.answers.rules` that
applies decides:

1. The same text, spacing aside, is right.
2. Letters of a choice, `B`, `(b)`, `**B.**`, `Option B`, `(B) a dog`: equal letters.
3. Numbers with their units (`vlm.answers.quantities`): equal in exact value, with equal units, or one unit left out.
   A percent sign divides by 100, so 50 % is 0.5 and 1/2. The sign may be left out as well: 50 is right for 50 %, as
   references often lack the sign. At or below 1 a number is a share, so that 0.5 is wrong for 0.5 %.
4. Words: equal, case aside.
5. Dates, times, ratios and numerals of a stated base: equal in spelling only.
6. Lists: equal brackets and equal items. Sets, and numbers without brackets, may come in any order.
7. Equations: in `x = 5` and `2 + 3 = 5` all that stands beside the name has to equal the reference `5`. Where both have
   a name, the names have to be equal.
8. Formulas: equal in value as `latex.equal` finds, in a worker process, with units as in rule 3.
9. All else is wrong.

A text of more than 2,000 signs or of more than 40 open brackets is compared by the first rule alone.
"""

import re
import time
from collections.abc import Sequence

from vlm.answers import latex
from vlm.answers.rules import LONGEST, same
from vlm.answers.spelling import plain

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_BARE = re.compile(r"[-+]?\s*(?:[^\s\\{}$]+|\\[A-Za-z]+[0-9]*)")
_WRAPPED = re.compile(
    r"\$\$(.*)\$\$|\$((?:[^$\\]|\\.)*)\$|\\\((.*)\\\)|\\\[(.*)\\\]|\"([^\"]*)\"|'([^']*)'|\*([^*\s][^*]*)\*|"
    r"\\(?:text|textbf|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}",
    re.DOTALL,
)
_STATED = re.compile(r"<answer>\s*(\S.*?)\s*</answer>\s*\Z|(?:\A|\n)[ \t]*####[ \t]*(\S[^\n]*?)\s*\Z", re.DOTALL)
_LEADING = re.compile(r"^\s*(?:=|\\(?:approx|sim)(?![A-Za-z]))")


def boxed_answer(response: str) -> str | None:
    r"""Return what the last `\boxed{...}` or `\fbox{...}` holds, nested braces allowed.

    Without braces, as in `\boxed 4` and `\boxed\text{B}`, it holds what follows up to a space. None where there is no
    box or it never ends. A brace behind a backslash is a sign of its own, as in `\{1, 2\}`.
    """
    for box in reversed(list(_BOX.finditer(response))):
        if response.startswith("{", box.end()):
            end = _closing(response, box.end())
            return None if end is None else response[box.end() + 1 : end - 1].strip()
        content = _unbraced(response, box.end())
        if content:
            return content
    return None


def stated_answer(solution: str) -> str:
    r"""Return the answer that a worked solution states: in its last box, in `<answer>`, or behind `####` at its end.

    A text with none of these is an answer itself.
    """
    boxed = boxed_answer(solution)
    if boxed:
        return boxed
    stated = _STATED.search(solution)
    return next(group for group in stated.groups() if group is not None) if stated else solution


def _closing(text: str, start: int) -> int | None:
    """Where the brace that opens at `start` has been closed."""
    depth = 0
    for sign in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += {"{": 1, "}": -1}.get(sign.group(), 0)
        if depth == 0:
            return sign.end()
    return None


def _unbraced(text: str, start: int) -> str:
    """What follows a box without braces: one run of signs, or a command with its arguments."""
    run = _BARE.match(text, start)
    if run is None:
        return ""
    end = run.end()
    while "\\" in run.group() and text.startswith("{", end):
        closed = _closing(text, end)
        if closed is None:
            break
        end = closed
    return text[start:end].rstrip(".,;:!?").strip()


def is_correct(response: str, answer: str) -> bool:
    """Whether the boxed answer of a response equals the reference answer, by the rules above."""
    said = boxed_answer(response)
    if said is None:
        return False
    deadline = time.monotonic() + latex.SECONDS * latex.PATIENCE

    def equal_in_value(first: str, second: str) -> bool:
        return time.monotonic() < deadline and latex.equal(first, second)

    return same(_spelled(said), _spelled(answer), equal_in_value)


def decided_by_rule(said: str, answer: str) -> bool | None:
    """Return what the rules say of two unwrapped answers; None if something has to be calculated."""
    try:
        return same(_spelled(said), _spelled(answer), _undecided)
    except _Undecided:
        return None


class _Undecided(Exception):
    pass


def _undecided(first: str, second: str) -> bool:
    raise _Undecided


def _spelled(answer: str) -> str:
    if len(answer) > LONGEST:
        return " ".join(answer.split())
    return unwrapped(_without_font(_LEADING.sub("", plain(unwrapped(answer)), count=1)))


def _without_font(text: str) -> str:
    r"""Return a text without the `\text{}` that holds all of it."""
    while text.startswith("\\text{") and _closing(text, len("\\text")) == len(text):
        text = text[len("\\text{") : -1].strip()
    return text


def is_correct_any(response: str, answers: Sequence[str]) -> bool | None:
    """Whether a response gives one of the accepted answers; None if there is none to judge by."""
    return any(is_correct(response, answer) for answer in answers) if answers else None


def unwrapped(answer: str) -> str:
    """Return an answer without what stands around it."""
    inner = boxed_answer(answer)
    text = _without_stop(answer if inner is None else inner)
    while wrapped := _WRAPPED.fullmatch(text):
        text = _without_stop(next(group for group in wrapped.groups() if group is not None))
    return text


def _without_stop(text: str) -> str:
    text = re.sub(r"(?:\s|\\\\)+$", "", text.strip())
    return text[:-1].rstrip() if text.endswith(".") and not text.endswith("..") else text
