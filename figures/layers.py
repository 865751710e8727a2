"""Where in the model the gradients lie and meet, by depth and by how much a token depends on the picture.

    python -m figures runs/layers-0123456789ab
    python -m figures runs/layers-0123456789ab layers --scope language_model --out pictures

Reads the table `layers` of a record written by `python -m probes.layers`. Each row of a panel is a group of parameters,
from the vision side at the top to the output at the bottom. Each column is a VDS bin, the last all bins together. Grey
cells have no angle: a gradient is 0 there. Angles are means over units; of signed-bins they are pooled.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from figures import captions, panels
from figures.fitting import finish
from figures.selection import check_choice
from figures.sheets import sheet
from figures.style import styled
from records import SCOPES, Measurement

ANGLE = "angle_language_visual_attached_mean_deg"
SHARE = "share_visual_mean"
ROW_IN = 0.135  # height for each group
LEAST_SPREAD_DEG = 30.0  # either side of 90: smaller departures are not painted as large ones


def rows_of(record: Measurement, scope: str) -> pd.DataFrame:
    """Return the rows of the groups in a scope."""
    check_choice("scope", scope, SCOPES)
    layers = record.table("layers")
    return layers if scope == "all" else layers[layers["in_language_model"]]


def grid(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a column as a table of groups by bins, both in the order of the record."""
    table = rows.pivot(index="group", columns="bin", values=column)
    return table.loc[rows["group"].unique(), rows["bin"].unique()]


def angle_range(values: pd.DataFrame) -> Normalize:
    """Return a range of colours with 90 degrees in its middle."""
    departures = np.abs(values.to_numpy() - 90.0)
    spread = max(LEAST_SPREAD_DEG, float(np.nanmax(departures, initial=0.0)))
    return Normalize(90.0 - spread, 90.0 + spread)


def label(group: str) -> str:
    """Return a group's name as it is read: `layer_03.mlp` as `layer 3 mlp`.

    >>> label("layer_03.mlp"), label("vision_tower")
    ('layer 3 mlp', 'vision tower')
    """
    words = group.replace(".", "_").split("_")
    return " ".join(str(int(word)) if word.isdigit() else word for word in words)


def draw_grid(ax: Axes, values: pd.DataFrame, colours: str, span: Normalize, unit: str) -> None:
    """Draw groups by bins, with lines between layers and before the column of all bins."""
    panels.heatmap(ax, values.to_numpy(), colours=colours, span=span, unit=unit)
    parts = [group.split(".")[0] for group in values.index]
    panels.cuts(
        ax, rows=[i for i in range(1, len(parts)) if parts[i] != parts[i - 1]], columns=[len(values.columns) - 1]
    )
    ax.set_xticks(range(len(values.columns)), values.columns)
    ax.set_xlabel("VDS bin (0 = least visual)")


def units(record: Measurement, rows: pd.DataFrame) -> str:
    """Name the unit, and how many of them were measured."""
    count = rows.loc[rows["bin"] == "all", "n_units"].max()
    return f"unit: {record.header['settings']['unit']}, {count} in all"


def draw(record: Measurement, scope: str = "all") -> Figure:
    """Draw the groups of one scope of a record that has the table `layers`."""
    rows = rows_of(record, scope)
    angles, shares = grid(rows, ANGLE), grid(rows, SHARE)
    with styled():
        figure, (left, right) = panels.grid(2, sheet().across(2), (0.6 + ROW_IN * len(angles),))
        draw_grid(left, angles, "RdBu_r", angle_range(angles), "degrees")
        most = 100 * float(np.nanmax(shares.to_numpy(), initial=0.0))
        draw_grid(right, 100 * shares, "viridis", Normalize(0.0, most), "%")
        names = [label(group) for group in angles.index]
        left.set_yticks(range(len(angles)), names)
        right.set_yticks(range(len(angles)), names if sheet().narrow else [])
        pooled = "pooled " if captions.statistic(record) == "pooled" else ""
        left.set_title(f"(a) {pooled}angle of language and visual, attached")
        right.set_title("(b) share of the visual squared norm, detached")
        grey = "grey: no gradient" if angles.isna().any(axis=None) or shares.isna().any(axis=None) else ""
        words = (captions.pair(record), units(record, rows), grey, captions.metric(record), captions.sketch(record))
        finish(figure, "Gradients by depth and kind of parameter", *words)
    return figure
