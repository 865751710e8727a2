"""The tables of the report: titles, the text of each cell, and the number that it is sorted by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from records import LAYER_ANGLES
from records.tables.diagnosis import MEANS, TRIED

_TRIED = tuple(sorted(TRIED, reverse=True))  # visual, standard, language


@dataclass(frozen=True)
class Column:
    """One column."""

    title: str
    kind: str = "number"
    """How its cells are set: number, name, setting, why, or nothing of its own."""

    @property
    def is_number(self) -> bool:
        return self.kind == "number"


@dataclass(frozen=True)
class Cell:
    """One cell."""

    text: str
    sort: str | None = None
    """What it is sorted by: empty where there is no number; None for its text."""


@dataclass(frozen=True)
class Data:
    """One table; each row has as many cells as there are columns."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


def number(value: float, form: str = ".3g", scale: float = 1.0) -> Cell:
    """Return a number as a cell."""
    if math.isnan(value):
        return Cell("", "")
    return Cell("\u221e" if math.isinf(value) else f"{scale * value:{form}}", f"{value!r}")


def findings(rows: pd.DataFrame) -> Data:
    """Return the findings of one question, without columns that would be empty."""
    columns = [
        Column("Measure", "name"),
        Column("Value"),
        Column("95 %"),
        Column("Verdict", ""),
        Column("Reason", "why"),
    ]
    cells = [_finding(row) for row in rows.to_dict("records")]
    kept = [place for place in range(len(columns)) if any(row[place].text for row in cells)]
    return Data([columns[place] for place in kept], [[row[place] for place in kept] for row in cells])


def classes(rows: pd.DataFrame) -> Data:
    """Return the classes of tokens."""
    names = ("VDS", "student's own", "standard", "language", "visual")
    titles = ["Tokens", "of tokens %", *names, "of standard %", "of visual %"]
    cells = []
    for row in rows.to_dict("records"):
        means = [number(row[f"{name}_mean_nats"], ".2g") for name in MEANS]
        shares = [number(row[name], ".0f", 100.0) for name in ("standard_share", "visual_share")]
        counts = [number(row["n_tokens"], ".0f"), number(row["token_share"], ".0f", 100.0)]
        cells.append([Cell(row["token_class"]), *counts, *means, *shares])
    return Data([Column("Class", ""), *map(Column, titles)], cells)


def bins(rows: pd.DataFrame) -> Data:
    """Return the bins of both scopes: divergences, angles and their null."""
    titles = ["Bin", "VDS", "standard", "language", "visual", "detached", "its null", "attached", "its null"]
    cells = []
    for row in rows.sort_values(["scope", "bin"]).to_dict("records"):
        nats = [number(row[f"{name}_mean_nats"], ".2g") for name in ("vds", "kl_standard", "kl_language", "kl_visual")]
        angles = []
        for angle in LAYER_ANGLES[:2]:
            angles += [_angle(row, angle), number(row[f"{angle}_null_mean_deg"], ".0f")]
        cells.append([Cell(row["scope"].replace("_", " ")), number(row["bin"], ".0f"), *nats, *angles])
    return Data([Column("Scope", "name"), *map(Column, titles)], cells)


def trial(rows: pd.DataFrame) -> Data:
    """Return the settings whose steps were taken, and the changes of the losses on the upper bins."""
    upper = rows[rows["bin"] == "high"]
    cells = []
    for (gamma, lambda_, prior), tried in upper.groupby(["gamma", "lambda", "prior"], sort=False):
        by_loss = {row["loss"]: row for row in tried.to_dict("records")}
        losses = [by_loss[loss] for loss in _TRIED]
        is_standard = not gamma and not lambda_
        held = "" if prior == "detached" else f", {prior}"
        name = Cell("standard" if is_standard else f"gamma {gamma:g}, lambda {lambda_:g}{held}")
        changes = (number(row["change_nats"], "+.2g") for row in losses)
        against = [Cell("", "") if is_standard else _against(row) for row in losses]
        cells.append([name, *changes, *against, Cell(losses[0]["verdict"])])
    titles = [*_TRIED, *(f"{loss}, minus standard's" for loss in _TRIED)]
    return Data([Column("Setting", "setting"), *map(Column, titles), Column("Trial", "")], cells)


def groups(rows: pd.DataFrame) -> Data:
    """Return the parts of the model over all bins."""
    titles = ["of |standard|\u00b2 %", "of |language|\u00b2 %", "of |visual|\u00b2 %"]
    titles += ["lang-vis, detached", "lang-vis, attached", "std-vis", "std-lang"]
    cells = []
    for row in rows[rows["bin"] == "all"].to_dict("records"):
        shares = [number(row[f"share_{name}_mean"], ".1f", 100.0) for name in ("standard", "language", "visual")]
        cells.append([Cell(row["group"]), *shares, *(_angle(row, angle) for angle in LAYER_ANGLES)])
    return Data([Column("Part", "name"), *map(Column, titles)], cells)


def _finding(row: Mapping) -> list[Cell]:
    scale, unit = (100.0, "%") if row["unit"] == "share" else (1.0, row["unit"])
    between = "" if math.isnan(row["low"]) else f"{_plain(row['low'], scale)} to {_plain(row['high'], scale)}"
    whole = unit == "" and float(row["value"]).is_integer()
    value = number(row["value"], ".0f" if whole else ".3g", scale)
    words = Cell(f"{value.text} {unit}".strip() if value.text else "", value.sort)
    return [Cell(row["measure"]), words, Cell(between), Cell(row["verdict"]), Cell(row["reason"])]


def _against(row: Mapping) -> Cell:
    """Return the difference of a change from standard's, with its interval."""
    value, low, high = (row[f"against_standard_{end}nats"] for end in ("", "low_", "high_"))
    between = "" if math.isnan(low) else f" ({low:.2g} to {high:.2g})"
    return Cell(f"{value:+.2g}{between}", f"{value!r}")


def _angle(row: Mapping, angle: str) -> Cell:
    """Return a mean with half the width of its interval."""
    mean, low, high = (row[f"{angle}_{end}_deg"] for end in ("mean", "low", "high"))
    if math.isnan(mean):
        return Cell("", "")
    half = "" if math.isnan(low) else f" \u00b1 {(high - low) / 2:.0f}"
    return Cell(f"{mean:.0f}{half}", f"{mean!r}")


def _plain(value: float, scale: float) -> str:
    return number(value, ".3g", scale).text
