"""How tokens are written in a row, in a font of equally wide characters: their text, their width, their places."""

from collections.abc import Sequence
from functools import cache
from typing import Final

from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font

FONT: Final = "DejaVu Sans Mono"
FONT_PT: Final = 9.0
CHARACTER_PT: Final = 0.602 * FONT_PT
GAP_PT: Final = 3.0


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(FT2Font(findfont(FONT)).get_charmap())


def shown(text: str) -> str:
    r"""Return a token as it is written: a line break as an arrow, what the font lacks as a box, nothing as a dot.

    >>> shown("a\n"), shown("\u4e2d"), shown("")
    ('a↵', '□', '·')
    """
    plain = text.strip(" ").replace("\n", "\u21b5") or "\u00b7"
    return "".join(c if ord(c) in _glyphs() and c.isprintable() else "\u25a1" for c in plain)


def places(texts: Sequence[str], width_pt: float) -> list[tuple[float, int]]:
    """Return where each token begins, in points from the left and in lines from the top; a line break ends a line."""
    found, x, line = [], 0.0, 0
    for text in texts:
        wide = token_width_pt(text)
        if x > 0 and x + wide > width_pt:
            x, line = 0.0, line + 1
        found.append((x, line))
        x += wide + GAP_PT
        if "\n" in text:
            x, line = 0.0, line + 1
    return found


def token_width_pt(text: str) -> float:
    """Return the width of a token's box."""
    return CHARACTER_PT * (len(shown(text)) + 0.8)
