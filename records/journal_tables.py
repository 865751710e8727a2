"""From the journals of training runs to the tables `curves`, `steps`, `evaluations` and `gradients` of a study."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from records.columns import ANGLES, OBJECTIVES
from records.errors import JournalError
from records.journal_lines import LOSSES, PHASES, Binned, GeometryLine, Journal
from records.tables.study import ALL_BINS, MEASURED, NULL_COLUMNS, TABLES, UPDATED
from stats import N_BINS

ALL_PARAMETERS = "all"


@dataclass(frozen=True)
class Run:
    """One run of a study."""

    arm: str
    seed: int
    journal: Journal

    @property
    def names(self) -> dict[str, Any]:
        """The columns that name the run."""
        return {"arm": self.arm, "seed": self.seed}


def journal_tables(runs: Sequence[Run]) -> dict[str, pd.DataFrame]:
    """Return the tables that journals fill: `curves`, `steps`, `evaluations`, `gradients`.

    Raises:
        JournalError: a line lacks a number that the tables have, or has another type.
    """
    try:
        return _tables(runs)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        names = ", ".join(f"{run.arm} of seed {run.seed}" for run in runs)
        raise JournalError(
            f"a line in the journals of {names} does not have the numbers of its kind"
            f" ({type(error).__name__}: {error}): put back the journal that was written, or train again"
        ) from None


def _tables(runs: Sequence[Run]) -> dict[str, pd.DataFrame]:
    rows = {"curves": _curves, "steps": _steps, "evaluations": _evaluations, "gradients": _gradients}
    return {
        table: _frame(table, [run.names | row for run in runs for row in rows_in(run.journal)])
        for table, rows_in in rows.items()
    }


def _frame(table: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows of a table; an optional column is there where a row has a value for it."""
    measured = {name for row in rows for name, value in row.items() if value is not None}
    columns = [one.name for one in TABLES[table].columns if not one.optional or one.name in measured]
    return pd.DataFrame(rows, columns=columns)


def _curves(journal: Journal) -> Iterator[dict[str, Any]]:
    for step in journal.steps:
        yield from _losses(step.step, "training", step.losses, step.losses_by_fixed_bin)
    for line in journal.evaluations:
        yield from _losses(line.step, "fixed", line.losses, line.losses_by_bin)
        yield from _losses(line.step, "own", line.own_losses, line.own_losses_by_bin)


def _losses(step: int, rollouts: str, whole: Mapping[str, float | None], binned: Binned) -> Iterator[dict[str, Any]]:
    for number in range(ALL_BINS, N_BINS):
        means = whole if number == ALL_BINS else {loss: binned[loss][number] for loss in LOSSES}
        yield {"step": step, "rollouts": rollouts, "bin": number} | {f"{loss}_nats": means[loss] for loss in LOSSES}


def _steps(journal: Journal) -> Iterator[dict[str, Any]]:
    for line in journal.steps:
        numbers = {name: getattr(line, name) for name in MEASURED + UPDATED}
        numbers |= {"gamma": line.gamma, "lambda": line.lambda_, "unlearnt_nats": line.unlearnt_nats}
        seconds = {f"{phase}_seconds": line.seconds[phase] for phase in PHASES}
        yield {"step": line.step, "skipped": line.skipped} | numbers | seconds


def _evaluations(journal: Journal) -> Iterator[dict[str, Any]]:
    for line in journal.evaluations:
        for group, share in line.accuracy.items():
            row = {"step": line.step, "group": group, "n_prompts": line.answers[group], "correct_share": share}
            yield row | {"response_tokens": line.own_response_tokens}


def _gradients(journal: Journal) -> Iterator[dict[str, Any]]:
    for line in journal.geometry:
        lengths, angles = {**line.norms, **line.group_norms}, {**line.angles_deg, **line.group_angles_deg}
        for scope in lengths:
            row = {"step": line.step, "scope": scope}
            row |= {f"norm_{objective}": lengths[scope][objective] for objective in OBJECTIVES}
            row |= {f"{angle}_deg": angles[scope][angle] for angle in ANGLES}
            yield row | {"eta": line.eta if scope == ALL_PARAMETERS else None} | _against_null(line, scope)


def _against_null(line: GeometryLine, scope: str) -> dict[str, float | None]:
    """The columns of a monitor: what angles have beyond their null, and its error."""
    by_tokens = (line.against_null or {}).get(scope, {})
    names = {"minus_null": "difference_deg", "minus_null_error": "error_deg"}
    return {
        f"{angle}_{column}_deg": by_tokens.get(tokens, {}).get(angle, {}).get(names[name])
        for (angle, tokens, name), column in NULL_COLUMNS.items()
    }
