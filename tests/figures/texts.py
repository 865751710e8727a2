"""The letters of a drawn picture: how large they are, and what they run into."""

from itertools import combinations

import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox

CLOSE_PX = 1.0  # what rounding may add to a letter's box


def drawn_texts(figure):
    """Return the texts that drawing a figure writes, with their boxes in pixels."""
    written = []

    def draw(self, renderer):
        if self.get_visible() and self.get_text().strip():
            written.append(self)
        return usual(self, renderer)

    with pytest.MonkeyPatch.context() as patch:
        usual = Text.draw
        patch.setattr(Text, "draw", draw)
        figure.draw_without_rendering()
    unique = list({id(text): text for text in written}.values())
    return [(text, text.get_window_extent()) for text in unique]


def smallest_pt(figure):
    """Return the size of the smallest letter; mathematical text has smaller ones than it says, and is refused."""
    texts = [text for text, _ in drawn_texts(figure)]
    assert not [text.get_text() for text in texts if text.get_parse_math() and text.get_text().count("$") > 1]
    return min(text.get_fontsize() for text in texts)


def faults(figure):
    """Return what is cut off, what stands in another panel, and what runs into another text."""
    texts = drawn_texts(figure)
    boxes = [(text, _shrunk(box)) for text, box in texts]
    said = [f"cut off: {text.get_text()!r}" for text, box in boxes if not _inside(box, figure.bbox)]
    panels = [ax for ax in figure.axes if ax.axison]
    for text, box in boxes:
        others = [ax for ax in panels if ax is not text.axes and box.overlaps(ax.bbox)]
        said += [f"{text.get_text()!r} stands in the panel {ax.get_title(loc='left')!r}" for ax in others]
    upright = [(text, box) for text, box in boxes if text.get_rotation() % 90 == 0]  # boxes of the others are too large
    pairs = combinations(upright, 2)
    return said + [f"{a.get_text()!r} runs into {b.get_text()!r}" for (a, one), (b, two) in pairs if one.overlaps(two)]


def _shrunk(box):
    return Bbox.from_extents(box.x0 + CLOSE_PX, box.y0 + CLOSE_PX, box.x1 - CLOSE_PX, box.y1 - CLOSE_PX)


def _inside(box, outer):
    return box.x0 >= outer.x0 and box.x1 <= outer.x1 and box.y0 >= outer.y0 and box.y1 <= outer.y1
