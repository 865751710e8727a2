"""Tables 1, 2 and 5 of arXiv:2606.00564, our numbers next to the published ones, as Markdown.

    python -m figures figures/gallery/study tables
    python -m figures RECORD tables --out pictures

Reads the tables `verdicts` and `effects` of a record written by `python -m study.effects`; writes `tables.md`.

The published numbers are means over benchmarks for models with 2 and 4 billion parameters, with one seed and without
intervals: Acc@1 of greedy answers, Acc@16 the mean of 16 samples. Ours are greedy answers of the record's pair, by
dependency group. Only the signs of differences can be compared, not the levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from figures import arms as study
from figures import captions
from figures.accuracy import accuracy_of
from records import Measurement

NOTHING = "\u2013"


@dataclass(frozen=True)
class Row:
    """One method of a published table."""

    label: str
    arm: str | None
    """Ours, if we train it."""
    published: tuple[float | None, ...]


@dataclass(frozen=True)
class Table:
    """One published table."""

    title: str
    columns: tuple[str, ...]
    against: str
    """The arm that differences are taken from."""
    rows: tuple[Row, ...]


TABLES = (
    Table(
        "Table 1: distillation",
        ("2B Acc@1", "2B Acc@16", "4B Acc@1", "4B Acc@16"),
        "standard",
        (
            Row("not trained", "initial", (31.32, None, 46.68, None)),
            Row("standard", "standard", (43.74, 45.07, 56.64, 56.86)),
            Row("VGS (`vgs-lp`)", "vgs-lp", (46.10, 46.14, 58.12, 57.27)),
            Row("teacher (8B, Acc@1)", None, (61.37, None, 61.37, None)),
        ),
    ),
    Table(
        "Table 2: with a reward",
        ("2B Acc@1", "2B Acc@16"),
        "grpo",
        (
            Row("GRPO", "grpo", (44.83, 45.68)),
            Row("GRPO + standard", "grpo+standard", (45.41, 45.22)),
            Row("GRPO + VGS (`grpo+vgs-lp`)", "grpo+vgs-lp", (47.20, 46.57)),
        ),
    ),
    Table(
        "Table 5: gamma by token",
        ("2B Acc@1",),
        "standard",
        (
            Row("standard", "standard", (43.74,)),
            Row("VGS (`vgs-lp`)", "vgs-lp", (46.10,)),
            Row("adaptive", "adaptive", (46.53,)),
        ),
    ),
)


def ours(record: Measurement, arm: str | None, group: str) -> str:
    """Return an arm's accuracy on a group in percent, with its interval over seeds; without several, over scenes."""
    verdicts = record.table("verdicts")
    rows = verdicts[(verdicts["arm"] == arm) & (verdicts["group"] == group)]
    if rows.empty:
        return NOTHING
    percent = accuracy_of(rows)
    return f"{percent.mean:.1f} ({percent.low:.1f} to {percent.high:.1f})"


def difference(effects: pd.DataFrame, arm: str | None, against: str) -> str:
    """Return an arm's difference from another on the high group in points, its interval, and whether it counts."""
    wanted = (effects["arm"] == arm) & (effects["against"] == against)
    rows = effects[wanted & (effects["quantity"] == "correct") & (effects["where"] == "high")]
    if rows.empty:
        return NOTHING
    row = rows.iloc[0]
    points = [100.0 * float(row[name]) for name in ("difference", "low", "high")]
    return "{:+.1f} ({:+.1f} to {:+.1f}), ".format(*points) + str(row["counts_as"])


def line(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table.

    >>> line(["a", "b"])
    '| a | b |'
    """
    return f"| {' | '.join(cells)} |"


def markdown(record: Measurement, table: Table) -> str:
    """Return one table as Markdown."""
    header = ["", *(f"published {column}" for column in table.columns)]
    header += [f"ours, {group} (%)" for group in study.GROUPS] + [f"ours, high: points from {table.against}"]
    lines = [f"### {table.title}", "", line(header), line(["---"] + ["---:"] * (len(header) - 1))]
    for row in table.rows:
        cells = [NOTHING if value is None else f"{value:.2f}" for value in row.published]
        measured = [ours(record, row.arm, group) for group in study.GROUPS]
        lines.append(line([row.label, *cells, *measured, difference(record.table("effects"), row.arm, table.against)]))
    return "\n".join(lines)


def text(record: Measurement) -> str:
    """Return the three tables and how they are to be read; a dash where nothing was published or measured."""
    arms = [row.arm for table in TABLES for row in table.rows]
    verdicts = record.table("verdicts")
    seeds = captions.seeds(verdicts[verdicts["arm"].isin(arms)])
    note = (
        f"Ours: greedy answers, {seeds} per arm. Intervals are 95 %, over seeds; of an arm with one seed "
        "or without training over scenes. A difference counts by the rule in `study/rules.py`; *undecided* is neither "
        "shown nor excluded. "
        "The published numbers are of other models on other benchmarks, one seed."
    )
    return "\n\n".join([*(markdown(record, table) for table in TABLES), note]) + "\n"
