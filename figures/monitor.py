"""A training run as a monitor sees it: losses of the visual tokens, and the gradients, over steps.

    python -m figures runs/monitor
    python -m figures runs/monitor monitor --scope language_model --out pictures

Reads the folder that a `probes.GeometryMonitor` wrote, or a run written by `python -m train`: the tables `curves` and
`gradients`. Losses are those of fixed responses, so that the same tokens are compared at every step; a thin line is
that of the present student's own responses. Angles have the angle of unrelated responses taken away (the null); bars
are twice the standard error of the difference. A run without a null shows the angles themselves. A dotted line stands
where language began to be unlearnt. Eta is |g_std| / |g_std + gamma g_vis| (arXiv:2606.00564, Eq. 15).
"""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures import captions, panels
from figures.fitting import finish
from figures.selection import rows_where
from figures.sheets import sheet
from figures.style import COLOURS, DOTTED, INK, NULL_GREY, styled
from figures.training_norms import implied_eta
from geometry.objective_settings import GAMMA
from records import NULL_ANGLES, Measurement, RecordError
from records.journal_lines import NULL_TOKENS
from stats import N_BINS, bins_label, upper_bins

NORMS = ("standard", "visual", "language")
LOSSES = ("visual", "language")
_UPPER = upper_bins(N_BINS)
_KINDS: dict[str, dict[str, Any]] = {
    "fixed": {"linewidth": 1.4, "marker": "o"},
    "own": {"linewidth": 0.7, "linestyle": DOTTED},
}
_FORMS = {"held fixed": COLOURS["visual"], "following": COLOURS["shift"]}
_TOKENS = {"all": ("o", "all tokens"), "upper": ("s", bins_label(_UPPER))}
_APART = 0.004
"""How far the four lines of angles are drawn apart, as a part of the axis, so that bars do not hide each other."""


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
    measured = [
        (f"{angle}_{tokens}_minus_null", form, tokens)
        for angle, form in zip(NULL_ANGLES, _FORMS, strict=True)
        for tokens in NULL_TOKENS
        if f"{angle}_{tokens}_minus_null_deg" in rows
    ]
    if not measured:
        draw_plain_angles(ax, rows)
        return
    ax.axhline(0, color=INK, linewidth=0.8, linestyle=DOTTED, zorder=1.5)
    apart = _APART * float(rows["step"].max() - rows["step"].min())
    for place, (column, form, tokens) in enumerate(measured):
        marker, words = _TOKENS[tokens]
        look: dict[str, Any] = {"color": _FORMS[form], "marker": marker, "ms": 3.4, "linewidth": 1.0}
        error = f"{column}_error_deg"
        spread = 2.0 * rows[error] if error in rows else None
        steps = rows["step"] + apart * (place - (len(measured) - 1) / 2)
        ax.errorbar(steps, rows[f"{column}_deg"], spread, elinewidth=0.6, label=f"q* {form}, {words}", **look)
    ax.set_ylabel("language-visual angle minus null (degrees)")
    ax.set_title("(c) angle beyond chance")


def draw_plain_angles(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the angle between language and visual gradient of the batch, for both forms of q*."""
    ax.axhline(90, color=INK, linewidth=0.8, linestyle=DOTTED, zorder=1.5)
    for angle, (form, colour) in zip(NULL_ANGLES, _FORMS.items(), strict=True):
        ax.plot(rows["step"], rows[f"{angle}_deg"], color=colour, marker="o", ms=3.4, label=f"q* {form}")
    ax.set_ylabel("language-visual angle (degrees)")
    ax.set_title("(c) angle, no null measured")


def draw_eta(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw eta over all parameters: as measured, else from norms and angle at gamma 2."""
    eta = rows["eta"] if "eta" in rows else implied_eta(rows, GAMMA)
    ax.plot(rows["step"], eta, color=INK, marker="o", ms=3.4)
    ax.set_ylim(0, max(1.0, 1.05 * float(eta.max())))
    ax.set_ylabel("\u03b7 (all parameters)")
    ax.set_title("(d) \u03b7, inert under Adam")


def draw(record: Measurement, scope: str = "all") -> Figure:
    """Draw one run, as `records.run_folder.read_run` returns it; scope: of the panels (b) and (c)."""
    curves, rows = record.table("curves"), rows_where(record, "gradients", scope=scope)
    if len(curves[["arm", "seed"]].drop_duplicates()) > 1:
        raise RecordError(f"{record.where} must be of one run for `monitor`, got several: draw `loss_dynamics`")
    since = record.notes.get("unlearnt_since")
    with styled():
        across = sheet().across(2)
        figure, axes = panels.grid(4, across, (2.3,), sharex=True)
        draw_losses(axes[0], curves)
        draw_norms(axes[1], rows)
        draw_angles(axes[2], rows)
        draw_eta(axes[3], rows_where(record, "gradients", scope="all"))
        for ax in axes:
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            if since is not None:
                ax.axvline(since, color=NULL_GREY, linestyle=DOTTED, linewidth=1.1, zorder=1)
            if ax.get_legend_handles_labels()[0]:
                ax.legend()
        for ax in axes[-across:]:
            ax.set_xlabel("step")
        unlearnt = "" if since is None else f"language is being unlearnt since step {since} (dotted)"
        finish(figure, "Geometry over training", captions.pair(record), captions.parameters(scope), unlearnt)
    return figure
