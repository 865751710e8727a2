"""The diagnosis in the terminal: what the recommendation rests on, then the recommendation."""

import math
import textwrap

import pandas as pd

from cli.tables import aligned
from probes.diagnosis.findings import MINUS_STANDARD
from probes.diagnosis.judging import signed
from probes.diagnosis.trial import SETTING, against_standard, setting_name
from probes.stages.forecast import HIGH
from records import Measurement
from records.tables.diagnosis import MEANS

_WIDTH, _BESIDE = 112, 60  # characters: of a line, and of a reason that stands beside its number


def summary(record: Measurement) -> str:
    """Return the findings, where the losses lie, the trial and the recommendation."""
    findings, has_trial = record.findings, "trial" in record.record["tables"]
    if has_trial:
        findings = not_in_trial_table(findings)
    parts = [finding_lines(findings), class_table(record.token_classes)]
    if has_trial:
        parts.append(trial_table(record.trial))
    return "\n\n".join([*parts, recommendation_lines(record.recommendation)])


def not_in_trial_table(findings: pd.DataFrame) -> pd.DataFrame:
    """Return the findings without the differences from standard distillation, which `trial_table` shows."""
    return findings[~findings["reason"].str.startswith(MINUS_STANDARD)]


def finding_lines(findings: pd.DataFrame) -> str:
    """The findings, a block a question."""
    blocks = []
    for question, rows in findings.groupby("question", sort=False):
        cells = [_cells(row) for row in rows.to_dict("records")]
        widths = [max(len(cell[column]) for cell in cells) for column in range(4)]
        lines = []
        following = [*rows["reason"].iloc[1:], ""]
        for (a, b, c, d, e), reason, next_reason in zip(cells, rows["reason"], following, strict=True):
            lines.append(f"  {a:{widths[0]}}  {b:>{widths[1]}}  {c:{widths[2]}}  {d:{widths[3]}}  {e}".rstrip())
            if len(reason) > _BESIDE and reason != next_reason:  # said once, below the last row that it is about
                lines += textwrap.wrap(reason, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
        blocks.append("\n".join([f"{str(question).capitalize()}", *lines]))
    return "\n\n".join(blocks)


def class_table(classes: pd.DataFrame) -> str:
    """Where the losses lie by class of token."""
    titles = [
        "class",
        "tokens",
        "share %",
        "VDS",
        "own",
        "standard",
        "language",
        "visual",
        "of standard %",
        "of visual %",
    ]
    lines = []
    for row in classes.to_dict("records"):
        means = [f"{row[f'{name}_mean_nats']:.2g}" for name in MEANS]
        shares = [f"{100 * row[name]:.0f}" for name in ("standard_share", "visual_share")]
        lines.append([row["token_class"], str(row["n_tokens"]), f"{100 * row['token_share']:.0f}", *means, *shares])
    return f"Mean nats by class of token, of responses to a prompt with a picture.\n{aligned([titles, *lines])}"


def trial_table(trial: pd.DataFrame) -> str:
    """What the steps that were tried did to the upper bins, one line for each setting."""
    upper, first = trial[trial["bin"] == HIGH], trial.iloc[0]
    lines = []
    for _, rows in upper.groupby(SETTING, sort=False):
        losses = rows.to_dict("records")
        differences = [signed(against_standard(row)) for row in losses]
        if not losses[0]["gamma"] and not losses[0]["lambda"]:
            differences = [f"margin {row['margin_nats']:.2g}" for row in losses]
        name = setting_name(losses[0]["gamma"], losses[0]["lambda"], losses[0]["prior"])
        lines.append([name, *differences, losses[0]["verdict"]])
    titles = ["setting", *(f"{loss} minus standard's" for loss in upper["loss"].unique()), "trial"]
    caption = (
        f"Change of the losses of the upper three tenths of the bins ({HIGH}) minus standard distillation's, nats,"
        f" by {first['steps']} real\nsteps of AdamW at rate {first['lr']:g}, on prompts that made no step (99 % over"
        " prompts). A setting passes if every upper bound\nlies below the margin and a loss that it is for lies surely"
        " lower by more than the margin."
    )
    return f"{caption}\n{aligned([titles, *lines])}"


def recommendation_lines(rows: pd.DataFrame) -> str:
    """Every setting with its reason."""
    lines = []
    for row in rows.to_dict("records"):
        lines.append(f"{row['setting']:>10}: {row['choice']}")
        lines += textwrap.wrap(row["reason"], _WIDTH, initial_indent=" " * 12, subsequent_indent=" " * 12)
    return "\n".join(lines)


def _cells(row: dict) -> list[str]:
    reason = row["reason"] if len(row["reason"]) <= _BESIDE else ""
    return [row["measure"], _value(row), _interval(row), row["verdict"], reason]


def _value(row: dict) -> str:
    value, unit = row["value"], row["unit"]
    if math.isnan(value):
        return "-"
    if unit == "share":
        return f"{100 * value:.1f} %"
    form = "d" if float(value).is_integer() and abs(value) < 1e6 and unit == "" else ".3g"
    return f"{int(value) if form == 'd' else value:{form}} {unit}".rstrip()


def _interval(row: dict) -> str:
    scale = 100 if row["unit"] == "share" else 1
    return "" if math.isnan(row["low"]) else f"({scale * row['low']:.3g} to {scale * row['high']:.3g})"
