"""The page `docs/validation.md`: does the diagnosis predict what training does?"""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from stats import Interval
from study.claims.markdown import markdown_table
from study.validation.policies import (
    POLICIES,
    HeldOut,
    always_standard,
    held_out,
    leave_kinds_out,
    mean_regret,
    regrets,
    split_in_half,
)
from study.validation.reading import LOSS, POINTS
from study.validation.scores import LEAST_PAIRS, confusion, coverage, over_pairs, rank_correlation, slope

TITLE = "# Does the diagnosis predict what training does?"
_RULES = """\
Written by `python -m study.validation` from the records in `{folder}`. Each row that is judged is a setting of one pair
that a diagnosis tried and a study trained. **Predicted** is the difference from standard distillation that a few real
steps leave in the standard loss of the upper bins. **Realised** is the same difference after training, on fixed
responses, and the difference in accuracy on scenes that need the picture. Intervals resample pairs, or are Student's t
over pairs. A rank correlation counts as shown if its interval lies above 0."""
_UNITS = {LOSS: "nats", POINTS: "points"}


def markdown_page(rows: pd.DataFrame, folder: str, seed: int = 0) -> str:
    """Return the page in Markdown, ending in a newline.

    Args:
        rows: the table of `study.validation.reading`.
        folder: where the records are.
        seed: of the resampling and of the split into halves.
    """
    parts = [TITLE, first_sentence(rows, seed), _RULES.format(folder=folder)]
    parts += ["## Predicted and realised", _agreement(rows, seed), _rows_table(rows)]
    parts += ["## Verdicts and outcomes", *_confusions(rows)]
    parts += ["## Regret", *_regret(rows)]
    parts += ["## Thresholds fitted on other pairs", *_thresholds(rows, seed)]
    return "\n\n".join(parts) + "\n"


def first_sentence(rows: pd.DataFrame, seed: int = 0) -> str:
    """Return what the page says first: whether the diagnosis predicts."""
    kept = with_loss(rows)
    n_pairs = kept["pair"].nunique()
    if n_pairs < LEAST_PAIRS:
        return (
            f"**It is not shown that the diagnosis predicts: {n_pairs} pairs were measured, and fewer than"
            f" {LEAST_PAIRS} are not judged.**"
        )
    interval = over_pairs(kept, rank_correlation, seed)
    words = f"rank correlation {_number(interval)} over {n_pairs} pairs"
    if interval.low > 0.0:
        return f"**The diagnosis predicts the order of the realised changes: {words}.**"
    return f"**The diagnosis does not predict the realised changes: {words}.**"


def with_loss(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have a prediction and a realised loss."""
    return rows[rows["predicted"].notna() & rows[LOSS].notna()]


def _agreement(rows: pd.DataFrame, seed: int) -> str:
    kept = with_loss(rows)
    lines = [
        ("slope of realised on predicted", _number(over_pairs(kept, slope, seed)), "1"),
        ("Spearman's rank correlation", _number(over_pairs(kept, rank_correlation, seed)), "1"),
        ("realised inside the predicted 99 % interval", _number(over_pairs(kept, coverage, seed)), "0.99"),
    ]
    return markdown_table(("quantity", f"{len(kept)} settings of {kept['pair'].nunique()} pairs", "ideal"), lines)


def _rows_table(rows: pd.DataFrame) -> str:
    titles = ("pair", "kind", "setting", "verdict", "trial", "predicted, nats", "realised, nats", "realised, points")
    lines = []
    for row in rows.to_dict("records"):
        name = f"gamma {row['gamma']:g}, lambda {row['lambda']:g}, {row['prior']}"
        name += " (recommended)" if row["advised"] else ""
        values = [_number(_interval(row, column)) for column in ("predicted", LOSS, POINTS)]
        lines.append([row["pair"], row["kind"], name, row["verdict"], row["trial"], *values])
    return markdown_table(titles, lines)


def _confusions(rows: pd.DataFrame) -> Iterator[str]:
    yield "How many settings had each verdict of the trial, and what training with them came to."
    for endpoint in (LOSS, POINTS):
        counts = confusion(rows, endpoint)
        lines = [[str(name), *(str(n) for n in counts.loc[name])] for name in counts.index]
        yield markdown_table((f"by {endpoint}", *counts.columns), lines)


def _regret(rows: pd.DataFrame) -> Iterator[str]:
    yield (
        "How far the choice of a policy stands behind the best setting that was trained, standard included. A setting"
        " that the diagnosis recommends and that was not trained counts as standard:"
        f" {_n_not_trained(rows)} of {rows['pair'].nunique()} pairs."
    )
    titles = ("policy", *(f"mean regret, {_UNITS[endpoint]}" for endpoint in (LOSS, POINTS)), "pairs")
    lines = []
    for name, policy in POLICIES.items():
        counts = [len(regrets(rows, policy, endpoint)) for endpoint in (LOSS, POINTS)]
        means = [_number(mean_regret(rows, policy, endpoint)) for endpoint in (LOSS, POINTS)]
        values = [mean if count else "not trained" for mean, count in zip(means, counts, strict=True)]
        lines.append([name, *values, ", ".join(map(str, counts))])
    yield markdown_table(titles, lines)


def _n_not_trained(rows: pd.DataFrame) -> int:
    steered = rows[rows["verdict"] == "steer"]
    return int((~steered.groupby("pair")["advised"].any()).sum()) if len(steered) else 0


def _thresholds(rows: pd.DataFrame, seed: int) -> Iterator[str]:
    kept = with_loss(rows)
    if kept["pair"].nunique() < 2:
        yield "Fewer than two pairs: no threshold can be fitted on some and judged on others."
        return
    yield (
        "The setting with the least predicted loss is taken if its prediction lies below a threshold. The threshold has"
        " the least mean regret on some pairs, and is judged on the others: on half of the pairs, drawn with seed"
        f" {seed}, and on each kind of pair that is left out."
    )
    half = split_in_half(kept, seed)
    judged = [held_out(kept, "the other half", half), *leave_kinds_out(kept)]
    titles = ("judged on", "pairs", "threshold, nats", "regret, nats", "regret of always standard, nats")
    yield markdown_table(titles, [_held_out_line(one) for one in judged])
    yield f"On all pairs always standard has a mean regret of {_number(mean_regret(kept, always_standard))} nats."


def _held_out_line(one: HeldOut) -> Sequence[str]:
    infinite = {math.inf: "always steer", -math.inf: "never steer"}
    threshold = infinite.get(one.threshold_nats, f"{one.threshold_nats:.3g}")
    return [one.name, str(len(one.pairs)), threshold, _number(one.regret), _number(one.standard)]


def _interval(row: dict, column: str) -> Interval:
    return Interval(row[f"{column}_low"], row[f"{column}_high"], row[column])


def _number(interval: Interval) -> str:
    """A number with its interval; a dash where there is none."""
    if math.isnan(interval.estimate):
        return "-"
    between = "" if math.isnan(interval.low) else f" [{interval.low:.3g}, {interval.high:.3g}]"
    return f"{interval.estimate:.3g}{between}"
