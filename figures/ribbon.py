"""Responses token by token: dependence on the picture, and where language and visual gradients conflict.

    python -m figures runs/demo ribbon
    python -m figures runs/demo ribbon --responses 3 13 --pictures three.png thirteen.png --attached --out pictures

Reads the tables `rollouts`, `tokens`, `units` and `bins` of a record written by `python -m probes.angles` with `--unit
token`. A token's colour is its VDS. A thick line under it means that its language and visual gradients conflict. Their
angle, written there, is then above `--threshold-deg` and more than two standard deviations above the null of its bin.
A thin line means that they were measured and do not conflict, no line that they were not measured; `--per-bin` of
the probe says how many are.

Records hold no pictures: name the files with `--pictures`, one for each response.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator
from PIL import Image

from cli.errors import OptionError
from figures import captions, panels
from figures.fitting import EDGE_PT, KEY, entitle, widest
from figures.sheets import sheet
from figures.style import COLOURS, INK, NULL_GREY, styled
from records import Measurement, RecordError

FONT: Final = "DejaVu Sans Mono"  # its characters are equally wide
CHARACTER: Final = 0.602  # width of a character, in sizes of the letters
GAP_PT: Final = 3.0  # between two tokens
MARGIN_PT: Final = 8.0
TOKEN, LINE, TITLE, PICTURE, BAR = 1.65, 3.4, 1.9, 11.5, 5.0  # heights, in sizes of the letters
VDS_RANGE_NATS = (1e-3, 5.0)  # of the colours; what is beyond has that of the end
USUAL = 3  # responses, where none is named


@dataclass(frozen=True)
class Response:
    """One response as it is drawn: its row of `rollouts`, its tokens with their angles, its picture."""

    rollout: Mapping
    tokens: pd.DataFrame
    picture: Image.Image | None


def marked(record: Measurement, attached: bool, threshold_deg: float) -> pd.DataFrame:
    """Return the tokens with `angle_deg`, nan where it was not measured, and whether that is a `conflict`."""
    angle = "angle_language_visual_attached" if attached else "angle_language_visual"
    units = record.table("units")
    units = units[units["scope"] == "all"]
    if not units["unit"].eq("token").all():
        raise RecordError(f"`{record.path}` must be measured with `--unit token`, not {units['unit'].iloc[0]}")
    angles = units[["rollout_id", "position", f"{angle}_deg"]].rename(columns={f"{angle}_deg": "angle_deg"})
    tokens = record.table("tokens").merge(angles, on=["rollout_id", "position"], how="left", validate="1:1")
    bins = record.table("bins")
    bins = bins[bins["scope"] == "all"].set_index("bin")
    beyond = bins[f"{angle}_null_mean_deg"] + 2.0 * bins[f"{angle}_null_std_deg"]
    least = np.fmax(tokens["bin"].map(beyond), threshold_deg)
    return tokens.assign(conflict=tokens["angle_deg"] > least)


def choose(record: Measurement, tokens: pd.DataFrame, wanted: Sequence[int] | None) -> list[int]:
    """Return the responses to draw: those wanted, else those with a picture and most conflicts."""
    there = set(record.table("rollouts")["rollout_id"])
    if absent := [number for number in wanted or () if number not in there]:
        raise RecordError(
            f"`responses` must be of those that `{record.path}` has ({min(there)} to {max(there)}), not {absent[0]}"
        )
    if wanted:
        return list(wanted)
    counts = tokens[tokens["has_image"]].groupby("rollout_id")["conflict"].sum()
    return [int(number) for number in counts.sort_values(ascending=False, kind="stable").index[:USUAL]]


def gather(
    record: Measurement, tokens: pd.DataFrame, wanted: Sequence[int] | None, pictures: Sequence[str | Path] | None
) -> list[Response]:
    """Return the responses to draw, each with its tokens and its picture."""
    numbers = choose(record, tokens, wanted)
    if pictures and len(pictures) != len(numbers):
        raise RecordError(f"`pictures` must be one for each of {len(numbers)} responses, not {len(pictures)}")
    opened = [Image.open(path).convert("RGB") for path in pictures] if pictures else [None] * len(numbers)
    rows = record.table("rollouts").set_index("rollout_id")
    return [
        Response(rows.loc[number].to_dict(), tokens[tokens["rollout_id"] == number].sort_values("position"), picture)
        for number, picture in zip(numbers, opened, strict=True)
    ]


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
    begins, x, line = [], 0.0, 0
    for text in texts:
        wide = token_width_pt(text)
        if x > 0 and x + wide > width_pt:
            x, line = 0.0, line + 1
        begins.append((x, line))
        x += wide + GAP_PT
        if "\n" in text:
            x, line = 0.0, line + 1
    return begins


def letters_pt(heights: float = 1.0) -> float:
    """Return a height in points that is told in sizes of the letters."""
    return heights * sheet().small_pt


def token_width_pt(text: str) -> float:
    """Return the width of a token's box."""
    return letters_pt(CHARACTER) * (len(shown(text)) + 0.8)


def text_width_pt(response: Response) -> float:
    """Return how wide the lines of a response may be."""
    aside = letters_pt(PICTURE) + MARGIN_PT if response.picture is not None else 0.0
    return 72 * sheet().width_in - 2 * MARGIN_PT - aside


def height_pt(response: Response) -> float:
    """Return how much room a response takes."""
    lines = places(response.tokens["token_text"].tolist(), text_width_pt(response))[-1][1] + 1
    words = letters_pt(TITLE * (title(response).count("\n") + 1) + lines * LINE)
    return MARGIN_PT + max(words, letters_pt(PICTURE) if response.picture is not None else 0.0)


def draw_token(ax: Axes, token: Mapping, x: float, y: float, norm: LogNorm) -> None:
    """Draw a token's box with its upper left corner at a place, and the mark of its gradients below."""
    wide = token_width_pt(token["token_text"])
    colour = colormaps["YlGnBu"](norm(np.clip(token["vds_nats"], *VDS_RANGE_NATS)))
    high = letters_pt(TOKEN)
    ax.add_patch(Rectangle((x, y), wide, high, facecolor=colour, linewidth=0))
    ink = "white" if np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.5 else INK
    style: dict[str, Any] = {
        "fontfamily": FONT,
        "va": "center",
        "ha": "center",
        "parse_math": False,
    }
    ax.text(x + wide / 2, y + high / 2, shown(token["token_text"]), color=ink, **style)
    below = y + high + 2.2
    if token["conflict"]:
        ax.plot([x, x + wide], [below, below], color=COLOURS["language"], linewidth=2.2, solid_capstyle="butt")
        words = f"{token['angle_deg']:.0f}"
        ax.text(x + wide / 2, below + 2, words, color=COLOURS["language"], va="top", ha="center")
    elif token["angle_deg"] == token["angle_deg"]:
        ax.plot([x, x + wide], [below, below], color=NULL_GREY, linewidth=0.8, solid_capstyle="butt")


def draw_response(ax: Axes, response: Response, top_pt: float, norm: LogNorm) -> None:
    """Draw the question, the picture if there is one, and the tokens."""
    left = MARGIN_PT
    if response.picture is not None:
        side = letters_pt(PICTURE)
        ax.imshow(response.picture, extent=(left, left + side, top_pt + side, top_pt), aspect="auto")
        left += side + MARGIN_PT
    words = title(response)
    ax.text(left, top_pt, words, va="top", parse_math=False, color=INK)
    top_pt += letters_pt(TITLE) * (words.count("\n") + 1)
    rows = response.tokens.to_dict("records")
    at = places([row["token_text"] for row in rows], text_width_pt(response))
    for row, (x, line) in zip(rows, at, strict=True):
        draw_token(ax, row, left + x, top_pt + line * letters_pt(LINE), norm)


def title(response: Response) -> str:
    """Return the question and whether its answer was right, in lines as wide as the tokens' room."""
    rollout, wide = response.rollout, text_width_pt(response)
    question = " ".join(str(rollout["prompt"]).replace("<image>", " ").split())
    question = question if len(question) <= 90 else f"{question[:87]}..."
    verdict = {True: "right", False: "wrong"}.get(rollout["correct"], "answer unknown")
    words = f"{question}  \u00b7  expected {rollout['answer']}: {verdict}"
    return "\n".join(textwrap.wrap(words, int(wide / letters_pt(CHARACTER))))


def draw(
    record: Measurement,
    responses: Sequence[int] | None = None,
    pictures: Sequence[str | Path] | None = None,
    attached: bool = False,
    threshold_deg: float = 90.0,
) -> Figure:
    """Draw some responses, one below the other.

    Args:
        responses: ids of rollouts; by default those with a picture and most conflicts.
        pictures: one picture file for each response.
        attached: take the angles with the visual target following the student.
        threshold_deg: the angle above which gradients conflict.

    Raises:
        RecordError: the units are no tokens, or the record has no such response.
        OptionError: `threshold_deg` is no angle.
        OSError: a picture cannot be read.
    """
    if not 0.0 <= threshold_deg <= 180.0:
        raise OptionError(f"`threshold_deg` must lie in [0, 180], got {threshold_deg}; 90 is where gradients conflict")
    chosen = gather(record, marked(record, attached, threshold_deg), responses, pictures)
    norm = LogNorm(*VDS_RANGE_NATS)
    with styled():
        figure = Figure(figsize=(sheet().width_in, 1.0))
        legend = widest(
            lambda columns: figure.legend(handles=legend_entries(chosen), loc="lower left", ncols=columns, **KEY),
            len(legend_entries(chosen)),
            figure.bbox.width,
        )
        top = MARGIN_PT + (_entitle(figure, record, attached) if sheet().titled else 0.0)
        key_pt = legend.get_window_extent().height * 72 / figure.dpi + EDGE_PT
        high = top + sum(map(height_pt, chosen)) + letters_pt(BAR) + key_pt
        figure.set_size_inches(sheet().width_in, high / 72)
        wide = 72 * sheet().width_in
        ax = figure.add_axes((0, 0, 1, 1), xlim=(0, wide), ylim=(high, 0))
        for response in chosen:
            draw_response(ax, response, top, norm)
            top += height_pt(response)
        ax.set(xlim=(0, wide), ylim=(high, 0))
        ax.set_axis_off()
        draw_scale(figure, norm, key_pt / high, letters_pt(BAR) / high)
    return figure


def draw_scale(figure: Figure, norm: LogNorm, below: float, high: float) -> None:
    """Draw the scale of the colours in a strip of the figure, whose lower edge and height are shares of it."""
    bar = figure.add_axes((0.02, below + 0.6 * high, 0.4 if not sheet().narrow else 0.94, 0.2 * high))
    figure.colorbar(ScalarMappable(norm, "YlGnBu"), cax=bar, orientation="horizontal", extend="both")
    bar.xaxis.set_minor_locator(NullLocator())
    panels.plain_ticks(bar.xaxis)
    bar.set_xlabel("VDS: dependence on the picture (nats)", labelpad=1)


def legend_entries(responses: Sequence[Response]) -> list[Line2D]:
    """Return one handle for each kind of line that is drawn, and one for tokens without a line."""
    tokens = pd.concat([response.tokens for response in responses])
    measured, conflict = tokens["angle_deg"].notna(), tokens["conflict"]
    entries = []
    if conflict.any():
        label = "language and visual gradients conflict (degrees)"
        entries.append(Line2D([], [], color=COLOURS["language"], lw=2.2, label=label))
    if (measured & ~conflict).any():
        entries.append(Line2D([], [], color=NULL_GREY, lw=0.8, label="measured, no conflict"))
    if not measured.all():
        entries.append(Line2D([], [], lw=0, label="no line: not measured"))
    return entries


def _entitle(figure: Figure, record: Measurement, attached: bool) -> float:
    """Write the title and the caption; return their height in points."""
    prior = f"q* {'attached' if attached else 'detached'}"
    words = (record.header["pair"]["student"], prior, captions.metric(record), captions.sketch(record, "all"))
    return entitle(figure, "Dependence on the picture and conflicts, token by token", *words, y=0.99)
