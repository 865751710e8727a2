"""Answers whose verdict changed between two students, with the picture that each is about.

    python -m figures runs/compare-0123456789ab changed_answers --out pictures

Reads the table `examples` of a record written by `python -m probes.compare`.
"""

import io
import textwrap
from collections.abc import Mapping

import matplotlib.image
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.before_after import caption
from figures.fitting import finish
from figures.sheets import sheet
from figures.style import COLOURS, INK, styled
from records import Measurement, RecordError

MUTED = "#6B6B6B"
VERDICT_COLOURS = {"gained": COLOURS["visual"], "lost": COLOURS["language"]}
MOST_LINES = 6  # of a text
GAP_PT = 4.0
RATIO = 2.4  # of the width of the words to that of the picture
CHARACTER = 0.57  # width of a letter of such texts, in sizes of the letters


def fold(text: str) -> str:
    """Break a text into lines as wide as the words' room, and end it early where there are too many.

    >>> fold("word " * 90).count(chr(10))
    5
    """
    plain = " ".join(text.split())
    lines = textwrap.wrap(
        plain, int(words_pt() / (CHARACTER * sheet().small_pt)), max_lines=MOST_LINES, placeholder=" ..."
    )
    return "\n".join(lines)


def across() -> int:
    """Return how many examples stand side by side."""
    return sheet().across(2)


def words_pt() -> float:
    """Return the width of the room for the words of an example."""
    return 72 * sheet().width_in / across() * RATIO / (1 + RATIO) - 4 * GAP_PT


def line_pt() -> float:
    """Return the height of a line of text."""
    return 1.25 * sheet().small_pt


def texts(row: Mapping) -> list[tuple[str, str]]:
    """Return what is written beside a picture, folded, each piece with its colour."""
    return [
        (fold(f"{row['verdict']}: {row['task']}, expected {row['answer']}"), VERDICT_COLOURS[row["verdict"]]),
        (fold(row["prompt"].replace("<image>", " ")), INK),
        (fold(f"before: {row['response_before']}"), MUTED),
        (fold(f"after: {row['response_after']}"), INK),
    ]


def height_pt(row: Mapping) -> float:
    """Return how much room an example takes, in points."""
    pieces = [text for text, _ in texts(row)]
    n_lines = sum(text.count("\n") + 1 for text in pieces)
    return max(words_pt() / RATIO, n_lines * line_pt() + len(pieces) * GAP_PT) + GAP_PT


def draw_picture(ax: Axes, png: bytes | None) -> None:
    """Draw what the prompt shows, at the top of its room."""
    if png is None:
        ax.text(0.5, 1, "no picture", color=MUTED, ha="center", va="top")
        return
    ax.imshow(matplotlib.image.imread(io.BytesIO(png), format="png"))
    ax.set_anchor("N")


def draw_texts(ax: Axes, row: Mapping) -> None:
    """Write the verdict, the question and both responses, one below the other."""
    down_pt = 0.0
    for number, (text, colour) in enumerate(texts(row)):
        written = ax.annotate(
            text,
            (0, 1),
            (0, -down_pt),
            xycoords="axes fraction",
            textcoords="offset points",
            annotation_clip=False,
            va="top",
            parse_math=False,
            color=colour,
            weight="normal" if number else "bold",
        )
        written.set_in_layout(False)  # its room is `height_pt`
        down_pt += (text.count("\n") + 1) * line_pt() + GAP_PT


def draw(record: Measurement) -> Figure:
    """Draw the examples of a record, on a wide sheet two on each line, those gained first.

    Raises:
        RecordError: no verdict changed.
    """
    rows = record.table("examples").to_dict("records")
    if not rows:
        raise RecordError(f"`{record.path}` has no answer whose verdict changed: compare on more `--accuracy-prompts`")
    heights_pt = [max(map(height_pt, rows[start : start + across()])) for start in range(0, len(rows), across())]
    with styled():
        figure = Figure(figsize=(sheet().width_in, sum(heights_pt) / 72), layout="constrained")
        shape = {"width_ratios": (1, RATIO) * across(), "height_ratios": heights_pt}
        axes = figure.subplots(len(heights_pt), 2 * across(), squeeze=False, gridspec_kw=shape)
        for ax in axes.flat:
            ax.set_axis_off()
        for number, row in enumerate(rows):
            line, half = divmod(number, across())
            draw_picture(axes[line, 2 * half], row["picture"])
            draw_texts(axes[line, 2 * half + 1], row)
        finish(figure, "Answers whose verdict changed", caption(record))
    return figure
