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

from figures import captions
from figures.before_after import caption
from figures.style import COLOURS, INK, WIDE_WIDTH_IN, styled
from records import Measurement, RecordError

MUTED = "#6B6B6B"
VERDICT_COLOURS = {"gained": COLOURS["visual"], "lost": COLOURS["language"]}
LINE_CHARACTERS, MOST_LINES = 56, 6  # of a text
LINE_PT, GAP_PT, PICTURE_PT = 9.2, 4.0, 84.0
TEXT_PT = 7.5


def fold(text: str) -> str:
    """Break a text into lines, and end it early where there are too many; a dollar sign stays one.

    >>> fold("word " * 90).count(chr(10))
    5
    """
    plain = " ".join(text.split())
    lines = textwrap.wrap(plain, LINE_CHARACTERS, max_lines=MOST_LINES, placeholder=" ...")
    return "\n".join(lines).replace("$", r"\$")


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
    return max(PICTURE_PT, n_lines * LINE_PT + len(pieces) * GAP_PT) + GAP_PT


def draw_picture(ax: Axes, png: bytes | None) -> None:
    """Draw what the prompt shows, at the top of its room."""
    if png is None:
        ax.text(0.5, 1, "no picture", color=MUTED, ha="center", va="top", fontsize=TEXT_PT)
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
            fontsize=TEXT_PT,
            color=colour,
            weight="normal" if number else "bold",
        )
        written.set_in_layout(False)  # its room is `height_pt`
        down_pt += (text.count("\n") + 1) * LINE_PT + GAP_PT


def draw(record: Measurement) -> Figure:
    """Draw the examples of a record, two on each line, those gained first.

    Raises:
        RecordError: no verdict changed.
    """
    rows = record.table("examples").to_dict("records")
    if not rows:
        raise RecordError(f"`{record.path}` has no answer whose verdict changed: compare on more `--accuracy-prompts`")
    heights_pt = [max(map(height_pt, rows[start : start + 2])) for start in range(0, len(rows), 2)]
    with styled():
        figure = Figure(figsize=(WIDE_WIDTH_IN, 0.55 + sum(heights_pt) / 72), layout="constrained")
        shape = {"width_ratios": (1, 2.4, 1, 2.4), "height_ratios": heights_pt}
        axes = figure.subplots(len(heights_pt), 4, squeeze=False, gridspec_kw=shape)
        for ax in axes.flat:
            ax.set_axis_off()
        for number, row in enumerate(rows):
            line, half = divmod(number, 2)
            draw_picture(axes[line, 2 * half], row["picture"])
            draw_texts(axes[line, 2 * half + 1], row)
        captions.entitle(figure, "Answers whose verdict changed", caption(record))
    return figure
