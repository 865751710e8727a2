"""Text of others as it may stand on a terminal: what would move, hide or recolour other text is spelt out."""

import re
import sys
from typing import TextIO

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def visible(text: str) -> str:
    r"""Return text in one line, every sign that steers a terminal or cannot be seen written as its escape.

    These are control signs, escapes, line ends, signs that change the direction of writing, signs without width, and
    halves of a character. Signs that join letters of some scripts stay.

    >>> visible("red \x1b[31m text\n")
    'red \\x1b[31m text\\n'
    """
    return _UNSEEN.sub(_escaped, text)


def visible_lines(text: str) -> str:
    r"""Return text whose line feeds end lines; all else is as in `visible`.

    >>> visible_lines("one\ntwo\r")
    'one\ntwo\\r'
    """
    return "\n".join(map(visible, text.split("\n")))


def print_out(*lines: object) -> None:
    """Print on stdout, each line ended by a line feed, made visible."""
    _print(sys.stdout, lines)


def print_err(*lines: object) -> None:
    """Print on stderr, each line ended by a line feed, made visible."""
    _print(sys.stderr, lines)


def _print(stream: TextIO, lines: tuple[object, ...]) -> None:
    text = "\n".join(visible_lines(str(line)) for line in lines)
    encoding = stream.encoding or "utf-8"  # None in memory
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def _escaped(sign: re.Match[str]) -> str:
    number = ord(sign[0])
    if sign[0] in _SHORT:
        return _SHORT[sign[0]]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
