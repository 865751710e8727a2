"""Text of others as it may stand on a page: every character that would not show, or would reorder others, is named."""

import unicodedata

_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
"""Categories of characters without a shape: control, format, half of a pair, private, line and paragraph ends."""


def visible(value: object) -> str:
    r"""Return a value as text with every character that would not show, or would reorder others, written out.

    >>> visible("a\x00\x1b[31m"), visible("\u202eb"), visible("line\nbreak")
    ('a␀␛[31m', '‹U+202E›b', 'line↵break')
    """
    return "".join(map(_shown, str(value)))


def _shown(character: str) -> str:
    code = ord(character)
    if character == "\n":
        return "\u21b5"
    if code < 32 or code == 127:
        return chr(0x2421 if code == 127 else 0x2400 + code)
    return f"\u2039U+{code:04X}\u203a" if unicodedata.category(character) in _UNSEEN else character
