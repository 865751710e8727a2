"""Draw Figure 7 of arXiv:2606.00564: norms and cosines of the gradients over training, and the eta they imply.

    python -m figures.training_norms figures/gallery/study
    python -m figures.training_norms RECORD --arms standard vgs-lp --scope language_model --gamma 1 --out pictures

Reads the table `gradients` of a record written by `python -m study.effects`; writes `training_norms.png` and `.svg`, a
row of panels an arm (default: standard, whose gradients the paper shows).

Gradients are of a whole batch of the step's rollouts, the visual target held fixed. Panel (c) is
eta = |g_std| / |g_std + gamma g_vis| (arXiv:2606.00564, Eq. 15), from the norms and the angle between the two, beside
the published constant for the 2B student, 0.41 at gamma = 2. Under Adam a constant factor on the loss is without
effect, whatever its value. Thick lines are means over seeds, thin ones seeds.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import arms as study
from figures import command
from figures.style import COLOURS, DASHED, DOTTED, INK, PAPER_INK, WIDE_WIDTH_IN, styled
from geometry.objective_settings import GAMMA, PUBLISHED_ETA
from records import Measurement, RecordError

OBJECTIVES = ("standard", "visual", "language")
COSINES = (  # name in the record, label, colour
    ("angle_standard_visual", "standard and visual", COLOURS["visual"]),
    ("angle_language_visual", "language and visual", COLOURS["language"]),
)


def rows_of(record: Measurement, scope: str) -> pd.DataFrame:
    """Return the measured steps of a scope or parameter group."""
    found = record.tables["gradients"]
    if scope not in set(found["scope"]):
        known = ", ".join(found["scope"].unique())
        raise RecordError(f"`scope` must be one that `{record.path}` has ({known}), not {scope!r}")
    return found[found["scope"] == scope]


def implied_eta(rows: pd.DataFrame, gamma: float) -> pd.Series:
    """Return |g_std| / |g_std + gamma g_vis| of each row, from the two norms and their angle (Eq. 15).

    >>> one = {"norm_standard": [3.0], "norm_visual": [2.0], "angle_standard_visual_deg": [90.0]}
    >>> implied_eta(pd.DataFrame(one), 2.0).tolist()
    [0.6]
    """
    standard, visual = rows["norm_standard"], gamma * rows["norm_visual"]
    cosine = np.cos(np.deg2rad(rows["angle_standard_visual_deg"]))
    return standard / np.sqrt(standard**2 + 2 * cosine * standard * visual + visual**2)


def draw_norms(ax: Axes, rows: pd.DataFrame, arm: str) -> None:
    """Draw the norms of the gradients, each in the colour of its objective."""
    for name in OBJECTIVES:
        table = study.by_seed(rows, arm, f"norm_{name}")
        study.draw_seeds(ax, table, colour=COLOURS[name], label=name, marker="o")
    ax.set_ylim(bottom=0)
    ax.set_ylabel("norm of the batch's gradient")


def draw_cosines(ax: Axes, rows: pd.DataFrame, arm: str) -> None:
    """Draw the cosines of two pairs of gradients, as the paper does."""
    ax.axhline(0, color=INK, linewidth=0.8, linestyle=DOTTED, zorder=1.5)
    for name, label, colour in COSINES:
        cosines = rows.assign(cosine=np.cos(np.deg2rad(rows[f"{name}_deg"])))
        study.draw_seeds(ax, study.by_seed(cosines, arm, "cosine"), colour=colour, label=label, marker="o")
    ax.set_ylim(-0.55, 1.05)
    ax.set_ylabel("cosine")


def draw_eta(ax: Axes, rows: pd.DataFrame, arm: str, gamma: float) -> None:
    """Draw the implied eta, and the published constant where gamma is that it was published for."""
    table = study.by_seed(rows.assign(eta=implied_eta(rows, gamma)), arm, "eta")
    study.draw_seeds(ax, table, colour=INK, label=f"implied, \u03b3 = {gamma:g}", marker="o")
    if gamma == GAMMA:
        ax.axhline(PUBLISHED_ETA["2b"], color=PAPER_INK, linewidth=1.1, linestyle=DASHED, label="published, 2B student")
    ax.set_ylim(0, max(1.0, 1.05 * float(np.nanmax(table.to_numpy(), initial=0.0))))
    ax.set_ylabel("\u03b7")


def draw(record: Measurement, arms: Sequence[str] | None = None, scope: str = "all", gamma: float = GAMMA) -> Figure:
    """Draw the gradients of a record that has the table `gradients`."""
    rows = rows_of(record, scope)
    if gamma <= 0:
        raise RecordError(f"`gamma` must be above 0, not {gamma:g}: without steering there is no eta")
    chosen = study.choose(record, "gradients", arms, (study.STANDARD,))
    with styled():
        figure = Figure(figsize=(WIDE_WIDTH_IN, 0.8 + 2.6 * len(chosen)), layout="constrained")
        axes = figure.subplots(len(chosen), 3, sharex=True, squeeze=False)
        for line, arm in zip(axes, chosen, strict=True):
            draw_norms(line[0], rows, arm)
            draw_cosines(line[1], rows, arm)
            draw_eta(line[2], rows, arm, gamma)
            for ax, title in zip(line, ("(a) norms", "(b) cosines, q* detached", "(c) implied \u03b7"), strict=True):
                ax.set_title(f"{title}: trained on {arm}")
                ax.legend(loc="best", handlelength=1.8, labelspacing=0.25)
        for ax in axes[-1]:
            ax.set_xlabel("step")
        parameters = "all parameters" if scope == "all" else f"parameters: {scope.replace('_', ' ')}"
        words = f"{study.caption(record, rows[rows['arm'].isin(chosen)])} \u00b7 {parameters}"
        figure.suptitle(f"Gradients over training\n{words} \u00b7 a constant \u03b7 is inert under Adam", fontsize=9.5)
    return figure


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = command.parser("training_norms", "Draw norms and cosines of a study's gradients over its steps.")
    made.add_argument("--arms", nargs="+", help="arms to draw, a row each (default: standard)")
    made.add_argument("--scope", default="all", help="parameters: all (default), language_model or a group's name")
    made.add_argument("--gamma", type=float, default=GAMMA, help="strength of the steering (default: %(default)s)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a record from the command line; return the exit code."""
    options = parser().parse_args(argv)
    name = "training_norms" if options.scope == "all" else f"training_norms-{options.scope}"
    return command.draw_and_save(
        "training_norms",
        options,
        ("gradients",),
        lambda record: {name: draw(record, options.arms, options.scope, options.gamma)},
    )


if __name__ == "__main__":
    sys.exit(main())
