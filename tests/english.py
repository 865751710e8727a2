"""Find phrases that a plainer word replaces, in pages, docstrings, comments, messages and notebooks.

    python -m tests.english          # the lines with such a phrase; exit code 1 if there is one

`PHRASES` lists what is found, each with the words to write instead. `make lint` runs this.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from cli.options import Parser
from cli.visible import print_out

ROOT: Final = Path(__file__).resolve().parents[1]
KINDS: Final = ("*.py", "*.md", "*.ipynb", "*.jinja", "*.cff", "*.toml", "Makefile")
EXEMPT: Final = ("tests/english.py", "tests/docs/test_english.py")
_COUNTED: Final = (
    "row|line|bin|token|unit|step|seed|panel|prompt|figure|module|folder|process|response|rollout|chunk|group|objective"
)

PHRASES: Final = {
    r"foretold|foretells?": "predicted, predicts",
    "anew": "again, or the new value named",
    "likewise": "also",
    "wherein|thereof|hereof": "the noun itself",
    "told from": "distinguished from, differs from",
    "but for": "except",
    "for want of": "because there is no",
    "(is|are|be) had": "the verb itself",
    "as it is asked": "the noun itself",
    "beside (standard|the paper|each other)": "compared with",
    rf"(a|one) ({_COUNTED}) an? \w+": "per, or for each",
}
"""Patterns of whole words, in capitals or not, each with its replacement."""

_GAP: Final = r"(?: +|[ ]*\n[ ]*(?:# )?)"
"""What stands between two words: blanks, or the end of a line and the next line's indent or comment sign."""
_WHOLE: Final = [rf"\b(?:{phrase})\b".replace(" ", _GAP) for phrase in PHRASES]
_PATTERN: Final = re.compile("|".join(_WHOLE), re.IGNORECASE)


def flagged(text: str) -> list[tuple[int, str]]:
    """Return the phrases of a text that a plainer word replaces, each with the number of its line from 1.

    >>> flagged("One row a token.\\nA row per token.")
    [(1, 'One row a token')]
    """
    return [(text.count("\n", 0, match.start()) + 1, _on_one_line(match[0])) for match in _PATTERN.finditer(text)]


def _on_one_line(phrase: str) -> str:
    return re.sub(_GAP, " ", phrase)


def instead_of(phrase: str) -> str:
    """Return the words to write in place of a flagged phrase."""
    return next(words for rule, words in PHRASES.items() if re.fullmatch(rule, phrase, re.IGNORECASE))


def complaints(root: Path) -> Iterator[str]:
    """Yield one line for each flagged phrase in the files of a repository that git knows."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *KINDS]
    names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in sorted(set(names) - set(EXEMPT)):
        path = root / name
        for number, phrase in flagged(path.read_text(encoding="utf-8")) if path.is_file() else []:
            yield f"{name}:{number}: write {instead_of(phrase)!r} instead of {phrase!r}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the complaints; return 1 if there are any."""
    Parser("tests.english", __doc__).parse_args(argv)
    lines = list(complaints(ROOT))
    for line in lines:
        print_out(line)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
