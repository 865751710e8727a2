"""Draw how gradients change over checkpoints, in the manner of Figure 7 of arXiv:2606.00564.

    python -m figures.norm_dynamics runs/norms-0123456789ab
    python -m figures.norm_dynamics runs/norms-0123456789ab --scope language_model --bin 9 --out pictures

Reads the table `norms` of a record written by `python -m probes.norms`; writes `norm_dynamics.png` and `.svg`. The
paper shows the norms of the standard and the visual gradient and their cosine; here stand the language gradient beside
them, angles for the cosine, and the mean losses. Bands are 95 % intervals of the means, over prompts.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import captions, panels
from figures.style import COLOURS, INK, WIDE_WIDTH_IN, save, styled
from records import Measurement, RecordError, read_record

OBJECTIVES = ("standard", "language", "visual")
ANGLES = (  # name in the record, label, colour, whether dashed
    ("angle_language_visual", "language and visual, detached", COLOURS["language"], False),
    ("angle_language_visual_attached", "language and visual, attached", COLOURS["language"], True),
    ("angle_standard_visual", "standard and visual", COLOURS["visual"], False),
    ("angle_standard_language", "standard and language", COLOURS["standard"], False),
)
MOST_TICKS = 8


def rows_of(record: Measurement, scope: str, bin_: str) -> pd.DataFrame:
    """Return the rows of a scope and bin, by checkpoint."""
    norms = record.tables["norms"]
    for name, column, value in (("scope", "scope", scope), ("bin", "bin", bin_)):
        if value not in set(norms[column]):
            known = ", ".join(norms[column].unique())
            raise RecordError(f"`{name}` must be one that `{record.path}` has ({known}), not {value!r}")
    return norms[(norms["scope"] == scope) & (norms["bin"] == bin_)].sort_values("checkpoint")


def draw_norms(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the mean norm of each objective's gradient."""
    for name in OBJECTIVES:
        columns = (rows[f"norm_{name}_{statistic}"] for statistic in ("mean", "low", "high"))
        panels.line_in_band(ax, rows["checkpoint"], *columns, colour=COLOURS[name], label=name)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("mean norm of the gradient")
    ax.set_title("(a) norms")


def draw_angles(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the mean angles."""
    panels.right_angle(ax)
    for name, label, colour, dashed in ANGLES:
        columns = (rows[f"{name}_{statistic}_deg"] for statistic in ("mean", "low", "high"))
        panels.line_in_band(ax, rows["checkpoint"], *columns, colour=colour, label=label, dashed=dashed)
    ax.set_ylim(0, 180)
    ax.set_yticks(range(0, 181, 30))
    ax.set_ylabel("mean angle (degrees)")
    ax.set_title("(b) angles")


def draw_losses(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the mean divergences of all scored tokens."""
    values = {name: rows[f"kl_{name}_mean_nats"] for name in OBJECTIVES} | {"VDS": rows["vds_mean_nats"]}
    panels.lines(ax, rows["checkpoint"], values, colours=COLOURS | {"VDS": INK}, hollow="VDS")
    panels.logarithmic(ax)
    ax.set_ylabel("mean divergence (nats)")
    ax.set_title("(c) losses and dependence on the picture")


def name_checkpoints(ax: Axes, rows: pd.DataFrame) -> None:
    """Write the names below the axis, the last part of each, and no more than have room."""
    shown = rows.iloc[:: -(-len(rows) // MOST_TICKS)]
    names = [name.split("/")[-1] for name in shown["name"]]
    ax.set_xticks(shown["checkpoint"], names, rotation=30, ha="right")
    ax.set_xlabel("checkpoint")


def caption(record: Measurement, rows: pd.DataFrame, scope: str, bin_: str) -> str:
    """Say what was measured: the teacher, the unit and how many of them, the tokens, the parameters, the metric."""
    teacher, unit = record.header["pair"]["teacher"], record.header["settings"]["unit"]
    tokens = "all bins" if bin_ == "all" else f"VDS bin {bin_}"
    parameters = "all parameters" if scope == "all" else f"parameters: {scope.replace('_', ' ')}"
    count = rows["n_units"].max()
    units = f"unit: {unit}, up to {count} a checkpoint, {tokens}"
    return f"teacher {teacher} \u00b7 {units} \u00b7 {parameters}{captions.metric(record)}"


def draw(record: Measurement, scope: str = "all", bin_: str = "all") -> Figure:
    """Draw one scope and bin of a record that has the table `norms`."""
    rows = rows_of(record, scope, bin_)
    with styled():
        figure = Figure(figsize=(WIDE_WIDTH_IN, 3.6), layout="constrained")
        axes = figure.subplots(1, 3, sharex=True)
        for ax, panel in zip(axes, (draw_norms, draw_angles, draw_losses), strict=True):
            panel(ax, rows)
            name_checkpoints(ax, rows)
            ax.legend(loc="upper left" if panel is draw_angles else "best", handlelength=1.8, labelspacing=0.25)
        figure.suptitle(f"Gradients over checkpoints\n{caption(record, rows, scope, bin_)}", fontsize=9.5)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a record from the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m figures.norm_dynamics", description="Draw the gradients of a series of checkpoints."
    )
    parser.add_argument("record", type=Path, help="folder written by `python -m probes.norms`")
    parser.add_argument("--scope", default="all", help="parameters: all (default) or language_model")
    parser.add_argument("--bin", default="all", help="VDS bin: a number or all (default)")
    parser.add_argument("--out", type=Path, help="folder of the pictures (default: the record's)")
    options = parser.parse_args(argv)
    name = "-".join(["norm_dynamics"] + [part for part in (options.scope, options.bin) if part != "all"])
    try:
        figure = draw(read_record(options.record, "norms"), options.scope, options.bin)
        paths = save(figure, (options.out or options.record) / name)
    except (RecordError, OSError) as error:
        print(f"figures.norm_dynamics: error: {error}", file=sys.stderr)
        return 2
    print(*paths, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
