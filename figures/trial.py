"""What real steps of each setting did, compared with as many steps of standard distillation.

    python -m figures runs/diagnose-0123456789ab trial
    python -m figures runs/diagnose-0123456789ab trial --out pictures

Reads the table `trial` of a record written by `python -m probes.diagnose`. Each row is a setting, each panel a loss
over the upper three tenths of the VDS bins. A point is the change of that loss minus that of standard distillation,
with its 99 % interval over prompts. In the grey band a difference counts as none; its half-width is the margin.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import captions
from figures.style import COLOURS, INK, NULL_GREY, WIDE_WIDTH_IN, styled
from records import Measurement, RecordError

UPPER = "high"
LOSSES = ("visual", "standard", "language")
SETTING = ["gamma", "lambda", "prior"]


def draw(record: Measurement) -> Figure:
    """Draw the settings that were tried, one below the other.

    Raises:
        RecordError: no setting was tried except standard distillation.
    """
    rows = record.table("trial")
    rows = rows[(rows["bin"] == UPPER) & ((rows["gamma"] > 0) | (rows["lambda"] > 0))]
    if rows.empty:
        raise RecordError(f"{record.where} has no step of a setting but standard: measure with `--trial-steps`")
    settings = [group for _, group in rows.groupby(SETTING, sort=False)]
    with styled():
        figure = Figure(figsize=(WIDE_WIDTH_IN, 1.7 + 0.3 * len(settings)), layout="constrained")
        axes = figure.subplots(1, len(LOSSES), sharey=True)
        for ax, loss in zip(axes, LOSSES, strict=True):
            draw_loss(ax, settings, loss)
        axes[0].set_yticks(range(len(settings)), [label(group.iloc[0]) for group in settings])
        axes[0].set_ylim(len(settings) - 0.4, -0.6)
        first = rows.iloc[0]
        words = (captions.pair(record), f"{first['steps']} steps of AdamW at rate {first['lr']:g}", "upper bins")
        captions.entitle(figure, "Steps that were tried, compared with standard distillation", *words)
    return figure


def draw_loss(ax: Axes, settings: Sequence[pd.DataFrame], loss: str) -> None:
    """Draw the differences of one loss with their intervals, over the margin."""
    rows = [group[group["loss"] == loss].iloc[0] for group in settings]
    margin = rows[0]["margin_nats"]
    ax.axvspan(-margin, margin, color=NULL_GREY, alpha=0.28, linewidth=0)
    ax.axvline(0, color=INK, linewidth=0.8)
    for place, row in enumerate(rows):
        low, high = (row[f"against_standard_{end}_nats"] for end in ("low", "high"))
        ax.plot([low, high], [place, place], color=COLOURS[loss], linewidth=1.6)
        ax.plot(row["against_standard_nats"], place, "o", color=COLOURS[loss])
    ax.set_title(f"{loss} loss")
    ax.set_xlabel("minus standard's change (nats)")


def label(row: pd.Series) -> str:
    """Return the name of a setting and its verdict, on two lines if it has one."""
    prior = f", {row['prior']}" if row["gamma"] else ""
    name = f"\u03b3 {row['gamma']:g}, \u03bb {row['lambda']:g}{prior}"
    return f"{name}: {row['verdict']}" if row["verdict"] else name
