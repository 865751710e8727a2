"""Draw responses token by token: how much each depends on the picture, where language and visual gradients conflict.

    python -m figures.ribbon runs/demo
    python -m figures.ribbon runs/demo --rollouts 3 13 --pictures three.png thirteen.png --attached --out pictures

Reads the tables `rollouts`, `tokens`, `units` and `bins` of a record written by `python -m probes.angles` with `--unit
token`; writes `ribbon.png` and `.svg`. A token's colour is its VDS. A thick line under it: its language and visual
gradients conflict, their angle, written there, being above `--threshold` degrees and more than two standard deviations
above the null of its bin. A thin line: they were measured and do not. No line: not measured; `--probe-per-bin` of the
probe says how many are.

Records hold no pictures: name them with `--pictures`, one for each response.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

from figures import captions, command
from figures.style import COLOURS, INK, NULL_GREY, WIDE_WIDTH_IN, styled
from figures.token_text import FONT, FONT_PT, places, shown, token_width_pt
from records import Measurement, RecordError

TOKEN_PT, LINE_PT = 15.0, 31.0
MARGIN_PT, PICTURE_PT, TITLE_PT, TOP_PT, BOTTOM_PT = 12.0, 110.0, 17.0, 40.0, 48.0
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
    units = record.tables["units"]
    units = units[units["scope"] == "all"]
    if not units["unit"].eq("token").all():
        raise RecordError(f"`{record.path}` must be measured with `--unit token`, not {units['unit'].iloc[0]}")
    found = units[["rollout_id", "position", f"{angle}_deg"]].rename(columns={f"{angle}_deg": "angle_deg"})
    tokens = record.tables["tokens"].merge(found, on=["rollout_id", "position"], how="left", validate="1:1")
    bins = record.tables["bins"]
    bins = bins[bins["scope"] == "all"].set_index("bin")
    beyond = bins[f"{angle}_null_mean_deg"] + 2.0 * bins[f"{angle}_null_std_deg"]
    least = np.fmax(tokens["bin"].map(beyond), threshold_deg)
    return tokens.assign(conflict=tokens["angle_deg"] > least)


def choose(record: Measurement, tokens: pd.DataFrame, wanted: Sequence[int] | None) -> list[int]:
    """Return the responses to draw: those wanted, else those with a picture and most conflicts."""
    known = set(record.tables["rollouts"]["rollout_id"])
    if absent := [number for number in wanted or () if number not in known]:
        raise RecordError(
            f"`rollouts` must be of those that `{record.path}` has ({min(known)} to {max(known)}), not {absent[0]}"
        )
    if wanted:
        return list(wanted)
    counts = tokens[tokens["has_image"]].groupby("rollout_id")["conflict"].sum()
    return [int(number) for number in counts.sort_values(ascending=False, kind="stable").index[:USUAL]]


def responses(
    record: Measurement,
    wanted: Sequence[int] | None,
    pictures: Sequence[Path] | None,
    attached: bool,
    threshold_deg: float,
) -> list[Response]:
    """Return what is to be drawn of each response."""
    tokens = marked(record, attached, threshold_deg)
    numbers = choose(record, tokens, wanted)
    if pictures and len(pictures) != len(numbers):
        raise RecordError(f"`pictures` must be one for each of {len(numbers)} responses, not {len(pictures)}")
    opened = [Image.open(path).convert("RGB") for path in pictures] if pictures else [None] * len(numbers)
    rows = record.tables["rollouts"].set_index("rollout_id")
    return [
        Response(rows.loc[number].to_dict(), tokens[tokens["rollout_id"] == number].sort_values("position"), picture)
        for number, picture in zip(numbers, opened, strict=True)
    ]


def text_width_pt(response: Response) -> float:
    """Return how wide the lines of a response may be."""
    aside = PICTURE_PT + MARGIN_PT if response.picture is not None else 0.0
    return 72 * WIDE_WIDTH_IN - 2 * MARGIN_PT - aside


def height_pt(response: Response) -> float:
    """Return how much room a response takes."""
    lines = places(response.tokens["token_text"].tolist(), text_width_pt(response))[-1][1] + 1
    words = TITLE_PT + lines * LINE_PT
    return MARGIN_PT + max(words, PICTURE_PT if response.picture is not None else 0.0)


def draw_token(ax: Axes, token: Mapping, x: float, y: float, norm: LogNorm) -> None:
    """Draw a token's box with its upper left corner at a place, and what is known of its gradients below."""
    wide = token_width_pt(token["token_text"])
    colour = colormaps["YlGnBu"](norm(np.clip(token["vds_nats"], *VDS_RANGE_NATS)))
    ax.add_patch(Rectangle((x, y), wide, TOKEN_PT, facecolor=colour, linewidth=0))
    ink = "white" if np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.5 else INK
    style: dict[str, Any] = {
        "fontfamily": FONT,
        "fontsize": FONT_PT,
        "va": "center",
        "ha": "center",
        "parse_math": False,
    }
    ax.text(x + wide / 2, y + TOKEN_PT / 2, shown(token["token_text"]), color=ink, **style)
    below = y + TOKEN_PT + 2.2
    if token["conflict"]:
        ax.plot([x, x + wide], [below, below], color=COLOURS["language"], linewidth=2.2, solid_capstyle="butt")
        words = f"{token['angle_deg']:.0f}"
        ax.text(x + wide / 2, below + 2, words, color=COLOURS["language"], fontsize=6.5, va="top", ha="center")
    elif token["angle_deg"] == token["angle_deg"]:
        ax.plot([x, x + wide], [below, below], color=NULL_GREY, linewidth=0.8, solid_capstyle="butt")


def draw_response(ax: Axes, response: Response, top_pt: float, norm: LogNorm) -> None:
    """Draw the question, the picture if there is one, and the tokens."""
    left = MARGIN_PT
    if response.picture is not None:
        ax.imshow(response.picture, extent=(left, left + PICTURE_PT, top_pt + PICTURE_PT, top_pt), aspect="auto")
        left += PICTURE_PT + MARGIN_PT
    ax.text(left, top_pt, title(response.rollout), fontsize=8.5, va="top", parse_math=False, color=INK)
    rows = response.tokens.to_dict("records")
    at = places([row["token_text"] for row in rows], text_width_pt(response))
    for row, (x, line) in zip(rows, at, strict=True):
        draw_token(ax, row, left + x, top_pt + TITLE_PT + line * LINE_PT, norm)


def title(rollout: Mapping) -> str:
    """Return the question and whether its answer was right."""
    question = " ".join(str(rollout["prompt"]).replace("<image>", " ").split())
    question = question if len(question) <= 90 else f"{question[:87]}..."
    verdict = {True: "right", False: "wrong"}.get(rollout["correct"], "answer not known")
    return f"{question}  \u00b7  expected {rollout['answer']}: {verdict}"


def draw(
    record: Measurement,
    rollouts: Sequence[int] | None = None,
    pictures: Sequence[Path] | None = None,
    attached: bool = False,
    threshold_deg: float = 90.0,
) -> Figure:
    """Draw responses of a record that has `rollouts`, `tokens`, `units` and `bins`."""
    chosen = responses(record, rollouts, pictures, attached, threshold_deg)
    wide, high = 72 * WIDE_WIDTH_IN, TOP_PT + sum(map(height_pt, chosen)) + BOTTOM_PT
    norm = LogNorm(*VDS_RANGE_NATS)
    with styled():
        figure = Figure(figsize=(WIDE_WIDTH_IN, high / 72))
        ax = figure.add_axes((0, 0, 1, 1), xlim=(0, wide), ylim=(high, 0))
        top = TOP_PT
        for response in chosen:
            draw_response(ax, response, top, norm)
            top += height_pt(response)
        ax.set(xlim=(0, wide), ylim=(high, 0))
        ax.set_axis_off()
        draw_key(figure, norm, high)
        words = f"q* {'attached' if attached else 'detached'}{captions.metric(record)}"
        name = record.header["pair"]["student"]
        figure.suptitle(
            f"Dependence on the picture and conflicts, token by token\n{name} \u00b7 {words}",
            fontsize=9.5,
            y=1 - 6 / high,
        )
    return figure


def draw_key(figure: Figure, norm: LogNorm, high_pt: float) -> None:
    """Draw the scale of the colours and name the lines, at the bottom."""
    bar = figure.add_axes((MARGIN_PT / 720, 30 / high_pt, 0.3, 9 / high_pt))
    figure.colorbar(ScalarMappable(norm, "YlGnBu"), cax=bar, orientation="horizontal", extend="both")
    bar.set_xlabel("VDS: dependence on the picture (nats)", labelpad=1)
    handles = [
        Line2D([], [], color=COLOURS["language"], lw=2.2, label="language and visual gradients conflict (degrees)"),
        Line2D([], [], color=NULL_GREY, lw=0.8, label="measured, no conflict"),
        Line2D([], [], lw=0, label="no line: not measured"),
    ]
    figure.legend(handles=handles, loc="lower right", bbox_to_anchor=(1 - 6 / 720, 12 / high_pt), ncols=3)


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a record from the command line; return the exit code."""
    made: argparse.ArgumentParser = command.parser("ribbon", "Draw responses token by token.", "probes.angles")
    made.add_argument("--rollouts", nargs="+", type=int, help="ids of responses (default: those with most conflicts)")
    made.add_argument("--pictures", nargs="+", type=Path, help="picture files, one for each response")
    made.add_argument("--attached", action="store_true", help="let the visual target follow the student")
    made.add_argument("--threshold", type=float, default=90.0, help="degrees of a conflict (default: %(default)s)")
    options = made.parse_args(argv)
    return command.draw_and_save(
        "ribbon",
        options,
        ("rollouts", "tokens", "units", "bins"),
        lambda record: {
            "ribbon": draw(record, options.rollouts, options.pictures, options.attached, options.threshold)
        },
    )


if __name__ == "__main__":
    sys.exit(main())
