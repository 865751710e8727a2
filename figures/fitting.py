"""The last step of every picture: texts are broken into lines that fit, keys and the title get their room.

Panels keep the height that they were drawn with: the picture grows by what is added above and below them.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

from figures.sheets import sheet

SPACING: Final = 1.2  # of lines, in sizes of the letters
EDGE_PT: Final = 3.0  # room between a key or a title and what stands next to it
TIED: Final = "\u00a0"  # a space at which no line ends
OUTSIDE_PT: Final = 30.0  # how far left of a panel its title may begin, above the numbers of the vertical axis
KEY: Final[dict[str, Any]] = {"handlelength": 1.6, "columnspacing": 1.2, "labelspacing": 0.25, "handletextpad": 0.5}


def finish(figure: Figure, title: str, *words: str, handles: Sequence[Artist] = ()) -> None:
    """Fit all texts of a picture, write its title and its caption, and name the marks below the panels.

    Args:
        title: what the picture shows; left out on a sheet without titles, as the words are.
        words: the parts of the caption below the title; empty ones are left out.
        handles: what the panels share, for the key below them.
    """
    for legend in filter(None, (ax.get_legend() for ax in figure.axes)):
        legend.set_in_layout(False)  # it has no place yet
    figure.draw_without_rendering()
    for ax in figure.axes:
        fold(ax.yaxis.label, ax.bbox.height)
    figure.draw_without_rendering()
    rows: dict[tuple[int, int], float] = {}
    for ax in figure.axes:
        grown_pt, spec = _fit_panel(ax), ax.get_subplotspec()
        place = (id(spec.get_gridspec()), spec.rowspan.start) if spec else (id(ax), 0)
        rows[place] = max(rows.get(place, 0.0), grown_pt)
    below_pt = key_below(figure, handles) if handles else 0.0
    above_pt = entitle(figure, title, *words) if sheet().titled else 0.0
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + (sum(rows.values()) + below_pt + above_pt) / 72)


def fold(text: Text, most_px: float) -> None:
    """Break a text between words into lines that are at most so long, in pixels."""
    lines: list[str] = []
    for line in text.get_text().split("\n"):
        begun = ""
        for word in line.split(" "):
            longer = f"{begun} {word}" if begun else word
            text.set_text(longer)
            if begun and _length_px(text) > most_px:
                lines.append(begun)
                begun = word
            else:
                begun = longer
        lines.append(begun)
    text.set_text("\n".join(lines))


def entitle(figure: Figure, title: str, *words: str, **place: Any) -> float:
    """Write a title and below it a caption, broken between its parts if it can be; return their height in points."""
    whole = [word.replace(" ", TIED) for word in words if word]
    caption = f"{TIED}\u00b7 ".join(whole)
    size, room = sheet().text_pt, figure.bbox.width - 2 * EDGE_PT * figure.dpi / 72
    written = figure.suptitle(f"{title}\n{caption}".rstrip("\n"), fontsize=size, parse_math=False, **place)
    fold(written, room)
    written.set_text(written.get_text().replace(TIED, " "))
    fold(written, room)  # a part that is longer than a line
    return _lines(written) * SPACING * size + EDGE_PT


def key_below(figure: Figure, handles: Sequence[Artist]) -> float:
    """Name the marks below the panels, in as many columns as fit; return the height in points."""
    legend = widest(
        lambda columns: figure.legend(handles=handles, loc="outside lower center", ncols=columns, **KEY),
        len(handles),
        figure.bbox.width,
    )
    return legend.get_window_extent().height * 72 / figure.dpi + EDGE_PT


def _fit_panel(ax: Axes) -> float:
    """Fold a panel's title and label, put its key between title and panel; return the points that it needs more."""
    whole = ax.get_tightbbox() or ax.bbox
    left_px = min(ax.bbox.x0 - whole.x0, OUTSIDE_PT * ax.figure.dpi / 72)  # of the panel
    begin, heading = -left_px / ax.bbox.width, ax.get_title(loc="left")
    key_pt = _key_above(ax, begin) + EDGE_PT if ax.get_legend() else 0.0
    title = ax.set_title(heading, loc="left", x=begin, parse_math=False, pad=key_pt + 2 * EDGE_PT)
    fold(title, ax.bbox.width + left_px)
    fold(ax.xaxis.label, 1.05 * ax.bbox.width)
    more_lines = sum(max(_lines(text) - 1, 0) for text in (ax.xaxis.label, title))
    return more_lines * SPACING * sheet().text_pt + key_pt


def _key_above(ax: Axes, begin: float) -> float:
    """Put a panel's key above it, from a place on the horizontal axis on; return its height in points."""
    old = ax.get_legend()
    assert old is not None
    handles, labels = old.legend_handles, [text.get_text() for text in old.get_texts()]
    place: dict[str, Any] = {
        "loc": "lower left",
        "bbox_to_anchor": (begin, 1.0),
        "borderpad": 0.0,
        "borderaxespad": 0.6,
    }
    legend = widest(
        lambda columns: ax.legend(handles=handles, labels=labels, ncols=columns, **place, **KEY),
        len(handles),
        (1.0 - begin) * ax.bbox.width - EDGE_PT * ax.figure.dpi / 72,
    )
    return legend.get_window_extent().height * 72 / ax.figure.dpi


def widest(make: Callable[[int], Legend], n_entries: int, most_px: float) -> Legend:
    """Return a key with as many columns as fit; its labels are folded where even one column is too wide."""
    for columns in range(n_entries, 0, -1):
        legend = make(columns)
        if legend.get_window_extent().width <= most_px:
            return legend
        if columns > 1:
            legend.remove()
    room_px = most_px - legend.get_window_extent().width
    for text in legend.get_texts():
        fold(text, max(t.get_window_extent().width for t in legend.get_texts()) + room_px)
    return legend


def _length_px(text: Text) -> float:
    extent = text.get_window_extent()
    return extent.height if text.get_rotation() == 90 else extent.width


def _lines(text: Text) -> int:
    words = text.get_text()
    return words.count("\n") + 1 if words else 0
