"""Figure 7 of arXiv:2606.00564: norms and cosines of the gradients over training, and the eta they imply.

    python -m figures figures/gallery/study training_norms
    python -m figures RECORD training_norms --arms standard vgs-lp --scope language_model --gamma 1 --out pictures

Reads the table `gradients` of a record written by `python -m study.effects`. Each arm has a row of panels; the default
is standard, whose gradients the paper shows.

Gradients are of a whole batch of the step's rollouts, the visual target held fixed. Panel (c) is
eta = |g_std| / |g_std + gamma g_vis| (arXiv:2606.00564, Eq. 15), from the norms and the angle between the two. The
published constant for the 2B student is drawn too: 0.41 at gamma = 2. Under Adam a constant factor on the loss has no
effect, whatever its value. Thick lines are means over seeds, thin ones seeds.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import arms as study
from figures import captions, panels
from figures.fitting import finish
from figures.selection import rows_where
from figures.sheets import sheet
from figures.style import COLOURS, DASHED, DOTTED, INK, PAPER_INK, styled
from geometry import Gram
from geometry.objective_settings import GAMMA, PUBLISHED_ETA
from records import Measurement, RecordError

OBJECTIVES = ("standard", "visual", "language")
COSINES = (  # name in the record, label, colour
    ("angle_standard_visual", "standard and visual", COLOURS["visual"]),
    ("angle_language_visual", "language and visual", COLOURS["language"]),
)


def implied_eta(rows: pd.DataFrame, gamma: float) -> pd.Series:
    """Return |g_std| / |g_std + gamma g_vis| of each row, from the two norms and their angle (Eq. 15).

    >>> one = {"norm_standard": [3.0], "norm_visual": [2.0], "angle_standard_visual_deg": [90.0]}
    >>> implied_eta(pd.DataFrame(one), 2.0).tolist()
    [0.6]
    """
    return pd.Series(standard_and_visual(rows).eta(gamma), index=rows.index)


def standard_and_visual(rows: pd.DataFrame) -> Gram:
    """Return the Gram matrices of the standard and the visual gradient of each row, from norms and their angle."""
    standard, visual = rows["norm_standard"].to_numpy(), rows["norm_visual"].to_numpy()
    product = standard * visual * np.cos(np.deg2rad(rows["angle_standard_visual_deg"].to_numpy()))
    squares = np.stack([standard**2, product, product, visual**2], axis=-1).reshape(-1, 2, 2)
    return Gram(squares, ("standard", "visual"))


def draw_norms(ax: Axes, rows: pd.DataFrame, arm: str) -> None:
    """Draw the norms of the gradients, each in the colour of its objective."""
    for name in OBJECTIVES:
        table = study.by_seed(rows, arm, f"norm_{name}")
        study.draw_seeds(ax, table, COLOURS[name], name, marker="o")
    ax.set_ylim(bottom=0)
    ax.set_ylabel("norm of the batch's gradient")


def draw_cosines(ax: Axes, rows: pd.DataFrame, arm: str) -> None:
    """Draw the cosines of two pairs of gradients, as the paper does."""
    ax.axhline(0, color=INK, linewidth=0.8, linestyle=DOTTED, zorder=1.5)
    for name, label, colour in COSINES:
        cosines = rows.assign(cosine=np.cos(np.deg2rad(rows[f"{name}_deg"])))
        study.draw_seeds(ax, study.by_seed(cosines, arm, "cosine"), colour, label, marker="o")
    ax.set_ylim(-0.55, 1.05)
    ax.set_ylabel("cosine")


def draw_eta(ax: Axes, rows: pd.DataFrame, arm: str, gamma: float) -> None:
    """Draw the implied eta, and the published constant where gamma is that it was published for."""
    table = study.by_seed(rows.assign(eta=implied_eta(rows, gamma)), arm, "eta")
    study.draw_seeds(ax, table, INK, f"implied, \u03b3 = {gamma:g}", marker="o")
    if gamma == GAMMA:
        ax.axhline(PUBLISHED_ETA["2b"], color=PAPER_INK, linewidth=1.1, linestyle=DASHED, label="published, 2B student")
    ax.set_ylim(0, max(1.0, 1.05 * float(np.nanmax(table.to_numpy(), initial=0.0))))
    ax.set_ylabel("\u03b7")


def draw(record: Measurement, arms: Sequence[str] | None = None, scope: str = "all", gamma: float = GAMMA) -> Figure:
    """Draw the gradients of a record that has the table `gradients`."""
    rows = rows_where(record, "gradients", scope=scope)
    if gamma <= 0:
        raise RecordError(f"`gamma` must be above 0, not {gamma:g}: without steering there is no eta")
    chosen = study.choose(record, "gradients", arms, (study.STANDARD,))
    with styled():
        across = sheet().across(3)
        figure, axes = panels.grid(3 * len(chosen), across, (1.8,), sharex=True)
        for place, arm in enumerate(chosen):
            line = axes[3 * place : 3 * place + 3]
            draw_norms(line[0], rows, arm)
            draw_cosines(line[1], rows, arm)
            draw_eta(line[2], rows, arm, gamma)
            for ax, title in zip(line, ("(a) norms", "(b) cosines, detached", "(c) implied \u03b7"), strict=True):
                ax.set_title(f"{title}: trained on {arm}")
                ax.legend()
        for ax in axes[-across:]:
            ax.set_xlabel("step")
        trained = captions.trained(record, rows[rows["arm"].isin(chosen)])
        words = (trained, captions.parameters(scope), "a constant \u03b7 is inert under Adam")
        finish(figure, "Gradients over training", *words)
    return figure
