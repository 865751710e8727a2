"""Answers that are to be judged right or wrong, rule by rule: the tests and `docs/answers.md` are made of these.

    python -m tests.vlm.answers.cases        # writes docs/answers.md

A pair is what stands in the box and the reference answer.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from cli.options import Parser

PAGE = Path(__file__).resolve().parents[3] / "docs" / "answers.md"

Pair = tuple[str, str]


@dataclass(frozen=True)
class Rule:
    """A kind of spelling: what is decided, and pairs that are right or wrong by it."""

    name: str
    text: str
    right: tuple[Pair, ...]
    wrong: tuple[Pair, ...]


RULES = (
    Rule(
        "Choices",
        "A letter counts in any of its usual forms, also with the words of the option behind it. If the reference "
        "is a letter, an answer in words alone is wrong.",
        (
            ("B", "B"),
            ("b", "B"),
            ("(B)", "B"),
            ("[B]", "B"),
            ("B.", "B"),
            ("B)", "B"),
            ("B:", "B"),
            ("**B**", "B"),
            ("**(B)**", "B"),
            ("**B.** a dog", "B"),
            ("__B__", "B"),
            ("`B`", "B"),
            (r"\textbf{B}", "B"),
            (r"\mathbf{B}", "B"),
            (r"\text{(B)}", "B"),
            (r"\text{B. a dog}", "B"),
            (r"\text{B}\ \text{a dog}", "B"),
            ("*B*", "B"),
            ("{B}", "B"),
            ("B\u3002", "B"),
            ("Option B", "B"),
            ("option (b)", "B"),
            ("Answer: B", "B"),
            ("The answer is B.", "B"),
            ("Choice B: a dog", "B"),
            ("B. a dog", "B"),
            ("(B) a dog", "B"),
            ("B) a dog", "B"),
            ("B: a dog", "B"),
            ("B - a dog", "B"),
            ("(B) 45", "B"),
            (r"\mathrm{B}", "(B)"),
            ("\uff22", "B"),
            ("\uff08\uff22\uff09", "B"),
            ("\u24b7", "B"),
            ("B", "(B) a dog"),
            ("B", "B. a dog"),
            ("D", "**D**"),
        ),
        (
            ("C", "B"),
            ("(C) B", "B"),
            ("a dog", "A"),
            ("A dog", "A"),
            ("A and B", "A"),
            ("A, B", "A"),
            ("(A) and (B)", "A"),
            ("A. or B.", "A"),
            ("AB", "A"),
            ("A. B", "A"),
            ("not B", "B"),
            ("x - y", "x"),
            ("B. a dog", "B. the dog"),
            ("A. a dog", "B. a dog"),
            ("8", "B"),
        ),
    ),
    Rule(
        "Numbers",
        "Two numbers are compared as exact fractions. Nothing is rounded: 0.33 is not 1/3.",
        (
            ("4.0", "4"),
            ("+4", "4"),
            ("007", "7"),
            ("4.", "4"),
            (".5", "0.50"),
            ("- 4", "-4"),
            ("\u22124", "-4"),
            ("\uff11\uff12\uff0e\uff15", "12.5"),
            ("\U0001d7d3", "5"),
            ("\u0665", "5"),
            ("**12**", "12"),
            ("(5)", "5"),
            ("{5}", "5"),
            ("$5$", "5"),
            ('"5"', "5"),
            (r"\frac{1}{2}", "1/2"),
            (r"\dfrac12", "0.5"),
            (r"\tfrac{1}{2}", "0.5"),
            (r"\frac{-3}{4}", "-0.75"),
            (r"-\frac34", "-3/4"),
            (r"\frac{2}{4}", r"\frac{1}{2}"),
            ("\u00bd", "0.5"),
            ("1\u20442", "0.5"),
            ("1 / 2", "0.5"),
            (r"0.\overline{3}", "1/3"),
            (r"0.1\overline{6}", r"\frac16"),
            ("1.2e3", "1200"),
            ("1E-2", "0.01"),
            (r"1.2\times 10^{3}", "1200"),
            (r"1.2 \cdot 10^3", "1200"),
            ("1.2\u00d710\u00b3", "1200"),
            ("1.2 x 10^3", "1200"),
            ("5\u00d710\u207b\u00b2", "0.05"),
            ("10^{-2}", "0.01"),
            ("5 million", "5000000"),
            (r"1.5\text{ billion}", "1,500,000,000"),
            (r"\approx 5", "5"),
            (r"\textcolor{red}{5}", "5"),
            (r"\underline{5}", "5"),
            (r"5\,", "5"),
            ("= 5", "5"),
            ("4.", "$4$."),
        ),
        (
            ("-4", "4"),
            ("4.01", "4"),
            ("0.33", "1/3"),
            ("0.333333", r"\frac{1}{3}"),
            ("12", "1 2"),
            ("1 2", "12"),
            ("12", "21"),
            (r"\frac{1}{2}", r"\frac{2}{1}"),
            ("1.2e3", "12"),
            ("5 million", "5"),
            ("1/0", "2/0"),
            ("5!", "5"),
            ("5\u00b2", "52"),
            ("4 or 5", "4"),
            ("about 5 or 6", "5"),
            ("5,", "5"),
            ("not 5", "5"),
            (r"\text{not }5", "5"),
            ("room 5", "5"),
            ("5th", "5"),
            ("four", "4"),
        ),
    ),
    Rule(
        "Mixed numbers",
        "A whole number and a proper fraction behind it add up. An improper one is a factor.",
        (
            (r"1\frac{1}{2}", "3/2"),
            (r"1\frac12", "1.5"),
            (r"1\,\dfrac{1}{2}", "1.5"),
            ("1 1/2", "1.5"),
            ("-1 1/2", "-1.5"),
            (r"-2\frac{3}{4}", "-2.75"),
            ("1\u00bd", "1.5"),
            ("2 \u00be", "2.75"),
            ("1,000 1/2", "1000.5"),
            (r"2\frac{7}{3}", r"\frac{14}{3}"),
        ),
        (
            (r"2\frac{1}{2}", "1"),
            ("1 1/2", "11/2"),
            ("11/2", "1 1/2"),
            (r"-1\frac{1}{2}", "-0.5"),
            (r"3\frac{1}{2}", r"\frac{31}{2}"),
        ),
    ),
    Rule(
        "Thousands",
        "Commas, spaces, thin spaces and apostrophes between groups of three digits are no part of a number. A "
        "comma is never a decimal point.",
        (
            ("1,234", "1234"),
            ("1 234", "1234"),
            ("1{,}234", "1234"),
            (r"1\,234", "1234"),
            (r"1,\!234", "1,234"),
            ("11111111100", r"11,\! 111,\! 111,\! 100"),
            (r"1\;234\;567", "1234567"),
            ("1\u2009234", "1234"),
            ("1\u202f234", "1,234"),
            ("1\u00a0234", "1234"),
            ("1\u2019234", "1234"),
            ("12,345,678.50", "12345678.5"),
            ("x = 1,234", "1234"),
            ("1,234 cm", "1234"),
        ),
        (
            ("1,23", "123"),
            ("12,34", "1234"),
            ("1, 234", "1234"),
            ("1234,567", "1234567"),
            ("1,234", "1.234"),
            ("3,14", "3.14"),
            ("1 23", "123"),
            ("234, 1", "1,234"),
        ),
    ),
    Rule(
        "Currency",
        "A currency is a unit, in front or behind.",
        (
            ("$5", "5"),
            (r"\$5", "5"),
            (r"$\$5$", "5"),
            (r"\$5.00", "$5"),
            ("5 dollars", "5"),
            ("5 dollars", r"\$5"),
            (r"5\text{ dollars}", "$5"),
            ("\u20ac5", "5"),
            ("5 \u20ac", "\u20ac5"),
            ("\u00a35", "5"),
            (r"-\$5", "-5"),
            (r"\$-5", "-5"),
            (r"\$1,234.50", "1234.5"),
            ("US$5", "5 dollars"),
            ("$5 million", "5,000,000"),
            ("5", r"\$5"),
        ),
        (
            ("\u20ac5", "$5"),
            ("5 cents", "$5"),
            ("$6", "5"),
            ("5 euros", "5 dollars"),
            ("$5 or $6", "5"),
        ),
    ),
    Rule(
        "Units",
        "One of the two may lack the unit. Two units have to be the same: none is converted. A single letter that "
        "stands tight, as in `4m`, is a factor. Other words behind a number are a unit only if they are set as "
        "text. `4 in` is no length: write `\\text{in}` or `inches`.",
        (
            ("4 cm", "4"),
            ("4", "4 cm"),
            ("4 cm", r"4\,\mathrm{cm}"),
            (r"4\text{ cm}", "4 cm"),
            (r"4~\text{cm}", "4cm"),
            (r"4 {\rm cm}", "4 cm"),
            ("4 centimeters", "4 cm"),
            ("4 Centimetres", r"4 \text{ cm}"),
            (r"\text{4 cm}", "4"),
            (r"4\ \mathrm{cm}^2", "4 square centimeters"),
            ("4 cm\u00b2", r"4\text{ cm}^{2}"),
            ("4 sq cm", "4 cm^2"),
            ("4 \u33a1", "4 m^2"),
            ("60 km/h", r"60\,\text{km}/\text{h}"),
            ("60 miles per hour", "60 mph"),
            (r"60\,\frac{\text{km}}{\text{h}}", "60 km/h"),
            (r"4\operatorname{cm}", "4 cm"),
            (r"9.8\ \text{m/s}^2", r"9.8\,\mathrm{m}\,\mathrm{s}^{-2}"),
            ("4 m", "4"),
            (r"2\sqrt{3}\text{ cm}", r"2\sqrt{3}"),
            (r"2\sqrt{3}", r"\sqrt{12} cm"),
            (r"25\pi\ \text{cm}^2", r"25\pi"),
            (r"30^\circ", "30"),
            ("30\u00b0", r"30^{\circ}"),
            ("30 degrees", "30\u00b0"),
            ("20\u00b0C", r"20^\circ\text{C}"),
            ("20 degrees Celsius", "20\u00b0C"),
            (r"12\text{ students}", "12"),
            ("3 hours", "3 hrs"),
            (r"1.50\ \text{m}", "1.5 m"),
            (r"5\,\Omega", "5 ohms"),
            (r"5\text{ in}", "5 inches"),
            ("5 in^2", "5 square inches"),
        ),
        (
            ("4 m", "4 cm"),
            (r"4\text{ m}", r"4\text{ cm}"),
            ("4 cm", "4 cm^2"),
            ("4 cm", "5"),
            ("400 cm", "4 m"),
            ("4 mW", "4 MW"),
            (r"4\pi\text{ m}", r"4\pi\text{ cm}"),
            ("60 km/h", "60 km"),
            ("60 mph", "60 km/h"),
            ("4m", "4"),
            ("4x", "4"),
            ("4", "4m"),
            ("20\u00b0C", "20\u00b0F"),
            ("4 cats", "4"),
            ("4 cats", "4 dogs"),
            (r"4\text{ cats}", r"4\text{ dogs}"),
            (r"4\text{ million}", "4"),
            (r"4\text{ or more}", "4"),
            (r"4\text{ dozen}", "4"),
            ("3 feet 4 inches", "3"),
            ("day", "red day"),
            ("4 in", "4"),
        ),
    ),
    Rule(
        "Percent",
        "The sign divides by 100: 50 % is 0.5 and 1/2. References often leave the sign out, so that 50 for 50 % "
        "and 50 % for 50 are right, too. At or below 1 a number is read as a share: there the sign counts.",
        (
            (r"50\%", "50%"),
            ("50 %", "50%"),
            (r"50\%", "0.5"),
            (r"50\%", r"\frac{1}{2}"),
            ("1/2", "50%"),
            ("0.5", r"50\%"),
            ("50", r"50\%"),
            (r"50\%", "50"),
            ("50 percent", "50%"),
            (r"50\text{ percent}", "0.5"),
            ("50\uff05", "50 per cent"),
            (r"12.5\%", "1/8"),
            (r"0.5\%", "0.005"),
            (r"100\%", "1"),
            (r"33\frac{1}{3}\%", "1/3"),
        ),
        (
            (r"50\%", "5"),
            (r"50\%", r"0.5\%"),
            (r"0.5\%", "0.5"),
            (r"1\%", "1"),
            ("0.005", "50%"),
            (r"33\%", "1/3"),
            ("50 cm", "50%"),
        ),
    ),
    Rule(
        "Words",
        "Words are equal case and spacing aside. Words that hold the answer are not the answer.",
        (
            ("Top  Left", "top left"),
            (r"\text{Top left}", "top left"),
            (r"\textbf{red}", "Red."),
            ("**red**", "red"),
            ("\u201cred\u201d", "red"),
            ("`red`", "red"),
            ("\uff32\uff45\uff44", "red"),
        ),
        (
            ("red circle", "red"),
            ("red", "red circle"),
            ("topleft", "top left"),
            (r"\text{der}", "red"),
            ("not red", "red"),
            ("the answer is red", "red"),
            ("red, blue", "red"),
            ("", "red"),
        ),
    ),
    Rule(
        "Lists, tuples, sets and intervals",
        "Sets come in any order, and so do numbers and formulas without brackets. Tuples, intervals and words "
        "keep theirs. Brackets count; a reference without brackets leaves them open.",
        (
            ("1,2,3", "1, 2, 3"),
            ("(1,2)", "( 1, 2 )"),
            (r"\left(1,2\right)", "(1, 2)"),
            ("13, 12", "12, 13"),
            ("1 and 2", "2, 1"),
            (r"1\text{ and }2", "1, 2"),
            ("1, 2, and 3", "1,2,3"),
            ("x = 1 or x = 2", "1, 2"),
            ("1; 2", "1, 2"),
            ("1, 2", r"\{2, 1\}"),
            (r"\{2, 1\}", r"\{1, 2\}"),
            (r"\left\{ \frac{1}{2}, 1 \right\}", r"\{1, 0.5\}"),
            ("{2, 1}", r"\{1, 2\}"),
            (r"\{red, blue\}", r"\{blue, red\}"),
            ("red,blue", "red, blue"),
            ("(0.5, 2)", r"(\frac{1}{2}, 2)"),
            (r"(\sqrt{12}, 1)", r"(2\sqrt{3}, 1)"),
            ("1, 2", "(1, 2)"),
            ("(1,234)", "(1, 234)"),
            ("1,234, 5,678", "1234, 5678"),
            ("1{,}234, 5", "5, 1234"),
            ("(1,2), (3,4)", "(3,4),(1,2)"),
            ("[0,1)", "[0, 1)"),
            (r"(-\infty, 3]", "(-\u221e, 3]"),
            (r"(2,\infty)\cup(-\infty,1)", r"(-\infty,1)\cup(2,\infty)"),
            (r"x\in[1,2]", "[1,2]"),
            ("x>3", r"(3,\infty)"),
            (r"(3,\infty)", "x>3"),
            (r"\pm 2", "2, -2"),
            ("x = \u00b12", "-2, 2"),
            (r"\emptyset", r"\{\}"),
            (r"\{5\}", "5"),
            ("[1, 2, 3]", "1, 2, 3"),
        ),
        (
            ("(1, 2)", r"\{1, 2\}"),
            (r"\{1, 2\}", "(1, 2)"),
            ("(2, 1)", "(1, 2)"),
            ("2, 1", "(1, 2)"),
            ("1, 2", "1, 2, 3"),
            ("1, 2, 3", "1, 2"),
            (r"\{1, 2\}", r"\{1, 2, 3\}"),
            ("1, 1", "1, 2"),
            ("1, 2, 2", "1, 2"),
            ("4, 5", "4"),
            ("4", "4, 5"),
            ("(1, 2)", "[1, 2]"),
            ("[1, 2)", "[1, 2]"),
            ("(1, 2]", "[1, 2)"),
            ("[1, 2]", "1, 2"),
            ("[1, 2, 3]", "(1, 2, 3)"),
            ("blue, red", "red, blue"),
            ("x>3", r"[3,\infty)"),
            ("(1,2), (3,4)", "(2,1), (3,4)"),
            (r"\{(1,2)\}", r"\{\{1,2\}\}"),
            ("4 cm, 5 cm", "4 m, 5 m"),
            ("3, 2", "x=2, y=3"),
        ),
    ),
    Rule(
        "Equations",
        "The name in front is no part of a value. All else has to equal the reference, so `4=5` is no way to "
        "write 5. Working that holds other letters is left out.",
        (
            ("x = 5", "5"),
            ("5", "x = 5"),
            ("x=5", "x = 5.0"),
            (r"\theta = 30^\circ", "30"),
            (r"x_1 = 5", "5"),
            ("f(x) = x^2", "x^2"),
            (r"\angle ABC = 30", "30"),
            (r"\text{Area} = 25\pi", r"25\pi"),
            (r"A = \pi r^2 = 25\pi", r"25\pi"),
            ("2 + 3 = 5", "5"),
            ("y = 1 + 2x", "y=2x+1"),
            ("2x - y + 1 = 0", "y = 2x+1"),
            ("2x+1", "y=2x+1"),
            ("x=2, y=3", "y=3, x=2"),
            ("2, 3", "x=2, y=3"),
            ("(x, y) = (1, 2)", "(1, 2)"),
        ),
        (
            ("4=5", "5"),
            ("4=5", "4"),
            ("x=4=5", "5"),
            ("y = 5", "x = 5"),
            ("x = 4", "5"),
            ("2x + z = 1", "1"),
            ("5", "x + y = 5"),
            ("x=2, y=3", "x=3, y=2"),
            ("2 + 2 = 5", "5"),
        ),
    ),
    Rule(
        "Formulas",
        "All other formulas are read by math-verify: equal in value, to six places where one is a decimal number.",
        (
            ("\u221a2", r"\sqrt{2}"),
            ("2\u221a3", r"\sqrt{12}"),
            ("\u221a(12)", r"2\sqrt3"),
            ("\u221b8", "2"),
            ("x\u00b2", "x^2"),
            ("x\u00b2 \u2212 1", "(x-1)(x+1)"),
            ("3 \u00d7 4", "12"),
            (r"12 \div 4", "3"),
            ("2\u03c0", r"2\pi"),
            (r"\dfrac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
            ("y+x", "x+y"),
            (r"2\cdot x", "2x"),
            ("2^{10}", "1024"),
            (r"\log_2 8", "3"),
            (r"\sin x", r"\sin(x)"),
            ("3i+2", "2+3i"),
            (r"x \ge 3", r"3 \leq x"),
            (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}"),
            (r"\frac{x}{2}", "x/2"),
            ("2**3", "8"),
            ("2^-1", "1/2"),
            ("3pi", r"3\pi"),
            ("2(3)", "6"),
            ("(3)(4)", "12"),
            ("3(x+1)", "3x+3"),
            ("1{,}200x", "1200x"),
            ("3 < x < 5", "(3, 5)"),
        ),
        (
            ("\u221a2", "2"),
            ("\u221a3", r"\sqrt{2}"),
            ("x\u00b2", "x2"),
            ("x^2", "x^3"),
            ("x+1", "x-1"),
            ("x > 3", r"x \ge 3"),
            ("x^2+1", "y^2+1"),
            (r"\infty", r"-\infty"),
            (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
        ),
    ),
    Rule(
        "Bases, dates and ratios",
        "A numeral of a stated base equals the same numeral of the same base. Dates, times and ratios are not "
        "calculated.",
        (
            ("101_2", "101_{2}"),
            ("101\u2082", "101_2"),
            ("(101)_2", "101_2"),
            (r"101_{\text{two}}", "101_2"),
            ("5_{10}", "5"),
            ("3:4", "3 : 4"),
            ("12:30", "12:30"),
            ("2020-01-02", "2020-01-02"),
        ),
        (
            ("101_2", "101"),
            ("101_2", "5"),
            ("101", "101_2"),
            ("5", "101_2"),
            ("101_2", "101_3"),
            ("3:4", "4:3"),
            ("3:4", "3/4"),
            ("12:30", "12:03"),
            ("2020-01-02", "2017"),
            ("3/4/2020", "4/3/2020"),
        ),
    ),
)

_HEAD = r"""# Which answers are right

`python -m tests.vlm.answers.cases` writes this page from the cases of `tests/vlm/answers/test_judge.py`.

The answer is what the last `\boxed{...}` or `\fbox{...}` of a response holds. `\boxed 4` and `\boxed\text{B}` count, a
box that never ends does not. A response without a box has no answer, whatever it says. `$ $`, `\( \)`, `\text{}`,
quotes, marks of bold print and a last full stop around an answer are no part of it. Unicode signs and the spellings of
LaTeX are brought to one form first. Then the rules below decide, in the order that `vlm.answers.judge` lists.

Formulas are read by math-verify in a process of its own, which has 5 seconds of processor time for each. What it does
not read in that time, as `9^{9^{9^{9}}}`, is wrong. Answers of more than 2,000 signs are compared as texts.

The rules differ from math-verify's own. Units have to agree, and these are not equal: a tuple and a set, `4=5` and 5,
`101_2` and 101, `3:4` and 3/4, 0.333333 and 1/3. The rules also read spaces as separators of thousands, `1.2e3`,
repeating decimals, `2(3)`, `2^-1` and `3pi`.
"""


def page() -> str:
    """Return the text of `docs/answers.md`."""
    return "\n".join([_HEAD, *(line for rule in RULES for line in _section(rule))])


def _section(rule: Rule) -> Iterator[str]:
    yield from (
        f"## {rule.name}",
        "",
        fill(rule.text, 120, break_on_hyphens=False),
        "",
        "| answer | reference | |",
        "| --- | --- | --- |",
    )
    yield from _rows(rule.right, "right")
    yield from _rows(rule.wrong, "wrong")
    yield ""


def _rows(pairs: Sequence[Pair], verdict: str) -> Iterator[str]:
    return (f"| {_cell(given)} | {_cell(answer)} | {verdict} |" for given, answer in pairs)


def _cell(text: str) -> str:
    """A text as code; signs that cannot be seen by their number."""
    seen = "".join(char if char == " " or not char.isspace() else f"<U+{ord(char):04X}>" for char in text)
    return f"`` {seen} ``".replace("|", "\\|") if seen else "nothing"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; return the exit code."""
    Parser("tests.vlm.answers.cases", __doc__).parse_args(argv)
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
