"""What a picture is drawn for: the screen, a whole page of a paper, or one of its two columns.

    with on_sheet("column", titled=False):
        figure = picture("angle_bins").draw(record)

The width is that at which the picture is printed, so a letter has the size that it is drawn with. On a page and in a
column no letter is below 7 points.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final

from cli.errors import OptionError

SCREEN, PAGE, COLUMN = "screen", "page", "column"


@dataclass(frozen=True)
class Sheet:
    """The width of a picture, the sizes of its letters, and the kinds of files that it is written as."""

    name: str
    width_in: float
    text_pt: float
    """Size of titles and of the axes' labels."""
    small_pt: float
    """Size of everything else; nothing is smaller."""
    dpi: int
    suffixes: tuple[str, ...]
    titled: bool = True
    """Whether a title and a caption stand above the panels; papers have captions of their own."""

    @property
    def narrow(self) -> bool:
        """Whether it is a column."""
        return self.name == COLUMN

    def across(self, wide: int, narrow: int = 1) -> int:
        """Return how many panels stand side by side: `narrow` in a column, else `wide`."""
        return narrow if self.narrow else wide

    def inches(self, page_in: float) -> float:
        """Return a height on this sheet that is `page_in` on paper: as many lines of text high."""
        return page_in * self.small_pt / SHEETS[PAGE].small_pt


SHEETS: Final = {
    SCREEN: Sheet(SCREEN, 9.0, 9.5, 9.0, 200, (".png", ".svg")),
    PAGE: Sheet(PAGE, 6.75, 7.5, 7.0, 300, (".png", ".pdf", ".svg")),
    COLUMN: Sheet(COLUMN, 3.3, 7.5, 7.0, 300, (".png", ".pdf", ".svg")),
}
_SHEET: ContextVar[Sheet] = ContextVar("_SHEET", default=SHEETS[SCREEN])


def sheet() -> Sheet:
    """Return the sheet that is drawn on."""
    return _SHEET.get()


@contextmanager
def on_sheet(style: str = SCREEN, titled: bool = True) -> Iterator[Sheet]:
    """Draw on a sheet, and on the caller's again afterwards.

    Args:
        style: `screen` (9 inches), `page` (6.75) or `column` (3.3).
        titled: whether a title and a caption stand above the panels.

    Raises:
        OptionError: there is no such style.
    """
    if style not in SHEETS:
        raise OptionError(f"`style` must be one of {', '.join(SHEETS)}, got {style!r}; column is 3.3 inches wide")
    token = _SHEET.set(replace(SHEETS[style], titled=titled))
    try:
        yield sheet()
    finally:
        _SHEET.reset(token)
