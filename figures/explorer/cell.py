"""The explorer as the output of a notebook cell."""

from html import escape

from figures.explorer.page import text
from records import Measurement

HEIGHT_PX = 900


class Explorer:
    """The explorer of a record or a measurement; a notebook shows it in a frame of its own.

    Args:
        record: with the tables of `python -m probes.sensitivity`; a measurement in memory will do.
        height_px: of the frame, in pixels.

    Raises:
        NoTable: the record lacks a table that a forecast needs.
    """

    def __init__(self, record: Measurement, height_px: int = HEIGHT_PX) -> None:
        self._page, self._height_px = text(record), height_px

    def _repr_html_(self) -> str:
        """Return a frame with the whole page inside: its style and its script stay apart from the notebook's."""
        frame = 'sandbox="allow-scripts" style="width:100%;border:0" title="explorer of a step"'
        return f'<iframe srcdoc="{escape(self._page)}" height="{self._height_px:d}" {frame}></iframe>'
