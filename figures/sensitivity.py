"""Draw what a step would do to held-out responses, by gamma, lambda and dependence on the picture.

    python -m figures.sensitivity runs/sensitivity-0123456789ab
    python -m figures.sensitivity runs/sensitivity-0123456789ab --prior attached --out pictures

Reads the tables of a record written by `python -m probes.sensitivity`; writes `sensitivity.png` and `.svg`. The step is
standard + gamma visual + lambda gated language (vgs-lp, arXiv:2606.00564, Eq. 17), its changes per unit of the learning
rate, with 95 % intervals over prompts. Where steps were taken a third row compares: predicted against measured change,
a point a VDS bin, and where first order ends.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from figures import captions, panels, step_panels
from figures.style import COLOURS, DASHED, DOTTED, INK, NULL_GREY, WIDE_WIDTH_IN, save, styled
from records import Measurement, RecordError, read_record
from records.tables.forecast import PRIORS

TABLES = ("forecast", "steering", "readings")
STEP_TABLES = ("step_changes", "step_fits")
SHOWN_GAMMAS = (0.0, 2.0, 4.0)
GROUPS = {"high": ("upper bins", "-", 0.16), "all": ("all bins", DASHED, 0.0)}
"""The label of a group of bins, its line, and how strongly its interval is painted."""
ANGLES = {  # column: label, colour, line
    "standard": ("standard", COLOURS["standard"], "-"),
    "language": ("language", COLOURS["language"], "-"),
    "gated_language": ("gated language", COLOURS["language"], DOTTED),
    "visual": ("visual, detached", COLOURS["visual"], "-"),
    "visual_attached": ("visual, attached", COLOURS["visual"], DASHED),
    "prior": ("prior", COLOURS["prior"], "-"),
    "shift": ("shift", COLOURS["shift"], "-"),
}


def rows_of(record: Measurement, table: str, prior: str) -> pd.DataFrame:
    """Return a table's rows of one prior."""
    if prior not in PRIORS:
        raise RecordError(f"`prior` must be one of {', '.join(PRIORS)}, not {prior!r}")
    rows = record.tables[table]
    return rows[rows["prior"] == prior]


def draw_by_gamma(ax: Axes, rows: pd.DataFrame, loss: str) -> None:
    """Draw the change of a loss against gamma: upper bins with their interval, and all; other lambdas thin."""
    for group, (name, style, strength) in GROUPS.items():
        inside = rows[(rows["bin"] == group) & (rows["lambda"] == 0)]
        mean, low, high = (inside[f"d_{loss}_{end}_nats"] for end in ("mean", "low", "high"))
        ax.fill_between(inside["gamma"], low, high, color=COLOURS[loss], alpha=strength, linewidth=0)
        ax.plot(inside["gamma"], mean, color=COLOURS[loss], linestyle=style, label=name)
    strongest = rows[(rows["bin"] == "high") & (rows["lambda"] == rows["lambda"].max())]
    label = f"upper bins, lambda {rows['lambda'].max():g}"
    ax.plot(
        strongest["gamma"], strongest[f"d_{loss}_mean_nats"], color=INK, linewidth=0.9, linestyle=DOTTED, label=label
    )
    _zero(ax)
    ax.set_xlabel("gamma")
    ax.set_ylabel("change (nats / unit rate)")
    ax.legend(loc="best", handlelength=2.4)


def draw_by_bin(ax: Axes, rows: pd.DataFrame, loss: str) -> None:
    """Draw the change of a loss by bin at three gammas, with intervals."""
    numbered = rows[rows["bin"].str.isdigit() & (rows["lambda"] == 0)]
    for place, gamma in enumerate(SHOWN_GAMMAS):
        inside = numbered[numbered["gamma"] == gamma]
        x = inside["bin"].astype(int) + 0.22 * (place - 1)
        colour = _mixed(COLOURS[loss], 0.4 + 0.3 * place)
        panels.interval(ax, x, inside[f"d_{loss}_low_nats"], inside[f"d_{loss}_high_nats"], colour=colour)
        ax.plot(x, inside[f"d_{loss}_mean_nats"], "o", color=colour, ms=3.6, label=f"gamma {gamma:g}", zorder=4)
    _zero(ax)
    ax.margins(y=0.17)  # room for the legend
    step_panels.both_ways(ax.yaxis, numbered[f"d_{loss}_mean_nats"])
    ax.set_xticks(sorted(numbered["bin"].astype(int).unique()))
    ax.set_xlabel("VDS bin (0 = least visual)")
    ax.legend(loc="upper left", ncols=3, handletextpad=0.1, columnspacing=1.0)


def draw_eta(ax: Axes, record: Measurement) -> None:
    """Draw the factor that gives the steered gradient the length of the standard one."""
    for prior, style in zip(PRIORS, ("-", DASHED), strict=True):
        rows = rows_of(record, "steering", prior)
        rows = rows[rows["lambda"] == 0]
        ax.plot(rows["gamma"], rows["eta"], color=COLOURS["visual"], linestyle=style, label=f"q* {prior}")
    ax.set_ylim(0, 1.05)
    ax.set_xlabel("gamma")
    ax.set_ylabel("eta")
    ax.legend(loc="best", handlelength=2.4)


def draw_angles(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the angles between the steered direction and that of each objective."""
    inside = rows[rows["lambda"] == 0]
    for name, (label, colour, style) in ANGLES.items():
        ax.plot(inside["gamma"], inside[f"angle_{name}_deg"], color=colour, linestyle=style, label=label)
    panels.right_angle(ax)
    ax.set_ylim(0, 180)
    ax.set_yticks(range(0, 181, 30))
    ax.set_xlabel("gamma")
    ax.set_ylabel("angle (degrees)")
    ax.legend(loc="upper left", ncols=2, handlelength=2.0, columnspacing=1.0, labelspacing=0.25)


def caption(record: Measurement) -> str:
    """Say what was measured: the pair, the responses, the metric."""
    pair, notes = record.header["pair"], record.record["notes"]
    counts = f"directions of {notes['prompts_of_directions']} prompts, losses of {notes['prompts_of_forecast']} others"
    return f"student {pair['student']}, teacher {pair['teacher']} \u00b7 {counts}{captions.metric(record)}"


def draw(record: Measurement, prior: str = "detached") -> Figure:
    """Draw the forecast for one kind of q*, and the steps that were taken where the record has them."""
    rows = rows_of(record, "forecast", prior)
    has_steps = "step_fits" in record.tables
    with styled():
        figure = Figure(figsize=(WIDE_WIDTH_IN, 8.4 if has_steps else 5.8), layout="constrained")
        axes = figure.subplots(3 if has_steps else 2, 3)
        for row, (letters, loss) in zip(axes, (("abc", "language"), ("def", "visual")), strict=False):
            draw_by_gamma(row[0], rows, loss)
            row[0].set_title(f"({letters[0]}) {loss} loss{', target moving along' if loss == 'visual' else ''}")
            draw_by_bin(row[1], rows, loss)
            row[1].set_title(f"({letters[1]}) {loss} loss by bin")
        axes[0, 0].set_xlabel(f"gamma ({_rise(record, prior)})")
        draw_eta(axes[0, 2], record)
        axes[0, 2].set_title("(c) eta: inert under Adam")
        draw_angles(axes[1, 2], rows_of(record, "steering", prior))
        axes[1, 2].set_title("(f) angle of the steered direction to")
        if has_steps:
            step_panels.draw_row(axes[2], record)
        title = f"What a step of standard + gamma visual would change, q* {prior}; responses held fixed"
        figure.suptitle(f"{title}\n{caption(record)}", fontsize=9.5)
    return figure


def _rise(record: Measurement, prior: str) -> str:
    """From which gamma the language loss of the upper bins rises, in words."""
    rows = rows_of(record, "readings", prior)
    row = rows[rows["reading"] == "gamma_rise"].iloc[0]
    mean, low, high = ("never" if np.isinf(row[end]) else f"{row[end]:.2g}" for end in ("estimate", "low", "high"))
    return f"upper bins rise from {mean}, 95 %: {low} to {high}"


def _zero(ax: Axes) -> None:
    ax.axhline(0, color=NULL_GREY, linewidth=0.8, zorder=1)


def _mixed(colour: str, strength: float) -> str:
    """A colour and white."""
    red, green, blue = (1.0 - strength * (1.0 - part) for part in to_rgb(colour))
    return to_hex((red, green, blue))


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(prog="python -m figures.sensitivity", description="Draw the forecast of a step.")
    made.add_argument("record", type=Path, help="folder written by `python -m probes.sensitivity`")
    made.add_argument("--prior", default="detached", help="q* in the steering term: detached (default) or attached")
    made.add_argument("--out", type=Path, help="folder of the pictures (default: the record's)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a record from the command line; return the exit code."""
    options = parser().parse_args(argv)
    name = "sensitivity" if options.prior == "detached" else f"sensitivity-{options.prior}"
    try:
        record = read_record(options.record, *TABLES)
        if "step_fits" in record.record["tables"]:
            record = read_record(options.record, *TABLES, *STEP_TABLES)
        figure = draw(record, options.prior)
        paths = save(figure, (options.out or options.record) / name)
    except (RecordError, OSError) as error:
        print(f"figures.sensitivity: error: {error}", file=sys.stderr)
        return 2
    print(*paths, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
