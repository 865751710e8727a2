"""Where the losses of Figure 3's bins lie: the share of the VDS and of each loss that a bin holds.

    python -m figures runs/demo bin_shares
    python -m figures figures/gallery/angles bin_shares --out pictures

Reads the table `bins` of a record written by `python -m probes.angles`.

Bins hold equally many tokens, and not equally much of what is measured. An angle in a bin with a small share says
little about the gradient of all tokens. Where the VDS is nearly 0, the teacher does not use the picture, and q* is
nearly the student without the picture. The visual gradient then is the one that stops looking.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import captions, panels
from figures.fitting import finish
from figures.selection import rows_where
from figures.sheets import sheet
from figures.style import COLOURS, INK, styled
from records import Measurement, RecordError
from stats.bins import bins_label

SHARED: Mapping[str, tuple[str, str]] = {
    "VDS": ("vds_mean_nats", INK),
    "visual loss": ("kl_visual_mean_nats", COLOURS["visual"]),
    "standard loss": ("kl_standard_mean_nats", COLOURS["standard"]),
    "language loss": ("kl_language_mean_nats", COLOURS["language"]),
}
"""What is shared among the bins: its column and its colour."""
LABELLED = 0.01
"""Shares from this on have their percent above the bar; in a column there is no room for numbers."""
WIDTH = 0.2
NAMED_LAST = 2
"""The caption sums the shares of all bins except so many of the most visual ones."""


def shares(bins: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each quantity that lies in each bin: bins in rows, each column sums to 1.

    bins: rows of the table `bins`, one for each bin.

    Raises:
        RecordError: a quantity is 0 in all bins.
    """
    table = bins.set_index("bin").sort_index()
    sums = pd.DataFrame({name: table[column] * table["n_tokens"] for name, (column, _) in SHARED.items()})
    if empty := [name for name in SHARED if not sums[name].sum() > 0]:
        raise RecordError(f"the {empty[0]} of the record is 0 in all bins: measure prompts with a picture")
    return sums / sums.sum()


def draw_shares(ax: Axes, table: pd.DataFrame) -> None:
    """Draw one bar for each bin and quantity, in percent."""
    places = np.arange(len(table))
    for number, (name, (_, colour)) in enumerate(SHARED.items()):
        left = places + (number - (len(SHARED) - 1) / 2) * WIDTH
        ax.bar(left, 100.0 * table[name], width=WIDTH, color=colour, label=name)
        for place, share in zip(left, table[name], strict=True):
            if share >= LABELLED and not sheet().narrow:
                ax.text(place, 100.0 * share + 1, f"{100.0 * share:.0f}", ha="center", color=colour)
    ax.set_xticks(places, [str(number) for number in table.index])
    ax.set_xlabel("VDS bin (0 = least visual)")
    ax.set_ylabel("share of all tokens' sum (%)")
    ax.legend()


def draw(record: Measurement) -> Figure:
    """Draw the shares.

    Raises:
        RecordError: a quantity is 0 in all bins.
    """
    table = shares(rows_where(record, "bins", scope="all"))
    lower = table.iloc[:-NAMED_LAST] if len(table) > NAMED_LAST else table
    sums = ", ".join(f"{name} {100.0 * lower[name].sum():.1f} %" for name in list(SHARED)[:2])
    with styled():
        figure, [ax] = panels.grid(1, 1, (2.0,))
        draw_shares(ax, table)
        words = (captions.pair(record), f"{bins_label(list(lower.index))}: {sums}")
        finish(figure, "Where the losses lie, by VDS bin", *words)
    return figure
