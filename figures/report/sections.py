"""The folded sections of the report: each question with its findings, then the tables that they rest on."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import pandas as pd

from figures import captions
from figures.report import tables
from figures.report.evidence import CLASSES, TRIAL, anchor, title
from figures.report.tables import Data
from records import Measurement

TABLES: Final[Sequence[tuple[str, str, str, Callable[[pd.DataFrame], Data]]]] = (
    (
        "token_classes",
        CLASSES,
        "Mean nats over the tokens of responses to a prompt with a picture; the rules stand in"
        " probes/diagnosis/token_classes.py.",
        tables.classes,
    ),
    (
        "trial",
        TRIAL,
        "Change of the losses by {steps} steps of AdamW at rate {lr:g}, in nats over the upper three tenths of the"
        " bins, on prompts that made no step; differences from standard with their 99 % intervals over prompts. The"
        " margin is a tenth of what standard distillation moves that loss of a token. A setting passes if every upper"
        " bound lies below the margin, and a loss that it is for lies surely lower by more than the margin.",
        tables.trial,
    ),
    (
        "bins",
        "Geometry by VDS bin",
        "Mean angles of language and visual gradient in degrees, q* detached and attached; null: unrelated tokens.",
        tables.bins,
    ),
    (
        "layers",
        "Geometry by part of the model",
        "Over all bins: share of the squared norm, and the angles, with their 95 % intervals over prompts.",
        tables.groups,
    ),
)
"""Name of a table, title, words, and what makes its cells."""
_ANGLES: Final = ("bins", "layers")


def sections(record: Measurement) -> list[dict[str, Any]]:
    """Return titles, headlines, words and tables, in order."""
    by_question = record.table("findings").groupby("question", sort=False)
    asked = [_section(title(str(name)), tables.findings(rows), _verdicts(rows)) for name, rows in by_question]
    off = captions.sketch(record)
    estimated = f"Products of gradients were estimated: {off}." if off else ""
    for name, heading, words, as_data in TABLES:
        if record.has(name):
            rows = record.table(name)
            first = next(iter(rows.head(1).to_dict("records")), {})
            words = f"{words.format_map(first)} {estimated if name in _ANGLES else ''}".strip()
            asked.append(_section(heading, as_data(rows), words=words))
    return asked


def _section(heading: str, table: Data, headline: str = "", words: str = "") -> dict[str, Any]:
    n_rows = len(table.rows)
    headline = headline or f"{n_rows} row{'' if n_rows == 1 else 's'}"
    return {"title": heading, "anchor": anchor(heading), "headline": headline, "words": words, "table": table}


def _verdicts(rows: pd.DataFrame) -> str:
    """Return the verdicts of a question's findings, each once."""
    return "; ".join(dict.fromkeys(verdict for verdict in rows["verdict"] if verdict))
