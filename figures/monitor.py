"""A training run as a monitor sees it: losses of the visual tokens, and the gradients, over steps.

    python -m figures runs/monitor
    python -m figures runs/monitor monitor --scope language_model --out pictures

Reads the folder that `probes.monitor.GeometryMonitor` wrote: the tables `curves` and `gradients`. Losses are those of
fixed responses, so that the same tokens are compared at every step; a thin line is that of the present student's own
responses. Angles have the angle of unrelated responses taken away (the null), with twice its standard error. A dotted
line stands where language began to be unlearnt. Eta is |g_std| / |g_std + gamma g_vis| (arXiv:2606.00564, Eq. 15),
and inert under Adam.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures import captions
from figures.selection import rows_where
from figures.style import COLOURS, DOTTED, INK, NULL_GREY, WIDE_WIDTH_IN, styled
from records import NULL_ANGLES, Measurement
from records.journal_lines import NULL_TOKENS
from stats import N_BINS, bins_label, upper_bins

NORMS = ("standard", "visual", "language")
LOSSES = ("visual", "language")
_UPPER = upper_bins(N_BINS)
_KINDS = {"fixed": {"linewidth": 1.4, "marker": "o"}, "own": {"linewidth": 0.7, "linestyle": DOTTED}}
_TOKENS = {"all": ("o", "all tokens"), "upper": ("s", bins_label(_UPPER))}


def draw_losses(ax: Axes, curves: pd.DataFrame) -> None:
    """Draw both losses of the tokens of the upper bins, the mean of each bin counting alike."""
    upper = curves[curves["bin"].isin(_UPPER)]
    for loss in LOSSES:
        for kind, look in _KINDS.items():
            mean = upper[upper["rollouts"] == kind].groupby("step")[f"{loss}_nats"].mean()
            ax.plot(mean.index, mean, color=COLOURS[loss], ms=3.4, label=f"{loss}, {kind} responses", **look)
    ax.set_ylim(bottom=0)
    ax.set_ylabel(f"loss, {bins_label(_UPPER)} (nats per token)")
    ax.set_title("(a) losses of the visual tokens")


def draw_norms(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the norms of the gradients, each in the colour of its objective."""
    for name in NORMS:
        ax.plot(rows["step"], rows[f"norm_{name}"], color=COLOURS[name], marker="o", ms=3.4, label=name)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("norm of the gradient")
    ax.set_title("(b) norms")


def draw_angles(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the angle between language and visual gradient less its null, for both forms of q* and both token sets."""
    ax.axhline(0, color=INK, linewidth=0.8, linestyle=DOTTED, zorder=1.5)
    for angle, colour, form in zip(
        NULL_ANGLES, (COLOURS["visual"], COLOURS["shift"]), ("held", "follows"), strict=True
    ):
        for tokens in NULL_TOKENS:
            column, (marker, words) = f"{angle}_{tokens}_minus_null", _TOKENS[tokens]
            if f"{column}_deg" not in rows:
                continue
            spread = 2.0 * rows[f"{column}_error_deg"] if f"{column}_error_deg" in rows else None
            look = {"color": colour, "marker": marker, "ms": 3.4, "linewidth": 1.0, "elinewidth": 0.6}
            label = f"q* {form}, {words}"
            ax.errorbar(rows["step"], rows[f"{column}_deg"], spread, label=label, **look)
    ax.set_ylabel("language-visual angle minus null (degrees)")
    ax.set_title("(c) angle beyond chance")


def draw_eta(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw eta over all parameters."""
    if "eta" in rows:
        ax.plot(rows["step"], rows["eta"], color=INK, marker="o", ms=3.4, label="\u03b7")
        ax.set_ylim(0, max(1.0, 1.05 * float(rows["eta"].max())))
    ax.set_ylabel("\u03b7 (all parameters)")
    ax.set_title("(d) \u03b7, inert under Adam")


def draw(record: Measurement, scope: str = "all") -> Figure:
    """Draw the folder of a monitor, read by `records.run_folder.read_run`; scope: of the panels (b) and (c)."""
    curves, rows = record.table("curves"), rows_where(record, "gradients", scope=scope)
    whole = rows_where(record, "gradients", scope="all")
    since = record.notes.get("unlearnt_since")
    with styled():
        figure = Figure(figsize=(WIDE_WIDTH_IN, 5.6), layout="constrained")
        axes = figure.subplots(2, 2, sharex=True)
        draw_losses(axes[0, 0], curves)
        draw_norms(axes[0, 1], rows)
        draw_angles(axes[1, 0], rows)
        draw_eta(axes[1, 1], whole)
        for ax in axes.flat:
            if since is not None:
                ax.axvline(since, color=NULL_GREY, linestyle=DOTTED, linewidth=1.1, zorder=1)
            if ax is not axes[1, 1]:
                ax.legend(loc="best", handlelength=1.8, labelspacing=0.25)
        for ax in axes[1]:
            ax.set_xlabel("step")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        unlearnt = "" if since is None else f"language is being unlearnt since step {since} (dotted)"
        captions.entitle(figure, "Geometry over training", captions.pair(record), captions.parameters(scope), unlearnt)
    return figure
