"""The schema of a study, what `study` writes of several arms of training and several seeds each:

    curves.parquet       a row a run, step, kind of rollouts and VDS bin: the losses
    steps.parquet        a row a run and update
    evaluations.parquet  a row a run, evaluation and dependency group: the accuracy on held-out prompts
    gradients.parquet    a row a run, measured step and scope or parameter group: norms and angles
    verdicts.parquet     a row a run and scene that it answered at the end
    effects.csv          a row an arm, another and a quantity: how far apart they are, and whether that counts

Of `rollouts` there are three: `training`, those of the step, in bins with the edges of step 0; `fixed`, the first
student's on held-out prompts, in their own bins; `own`, the present student's on the same prompts and in the same bins.
Bin -1 is all tokens together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from records.columns import ANGLES, OBJECTIVES, REAL, TEXT, WHOLE, YES_NO
from records.journal_lines import LOSSES, N_BINS, PHASES, Binned, Journal

ALL_BINS: Final = -1

RUN = {"arm": TEXT, "seed": WHOLE}
CURVES = RUN | {"step": WHOLE, "rollouts": TEXT, "bin": WHOLE} | {f"{loss}_nats": REAL for loss in LOSSES}
_MEASURED: Final = ("loss", "response_tokens", "truncated_share", "reward", "banned_mass", "entropy_nats")
_UPDATED: Final = ("gradient_norm", "eta")
STEPS = RUN | {"step": WHOLE, "skipped": YES_NO, **dict.fromkeys(_MEASURED + _UPDATED, REAL)}
STEPS |= {f"{phase}_seconds": REAL for phase in PHASES}
EVALUATIONS = RUN | {"step": WHOLE, "group": TEXT, "n_prompts": WHOLE, "correct_share": REAL, "response_tokens": REAL}
GRADIENTS = RUN | {"step": WHOLE, "scope": TEXT, **{f"norm_{objective}": REAL for objective in OBJECTIVES}}
GRADIENTS |= {f"{angle}_deg": REAL for angle in ANGLES}
VERDICTS = RUN | {"group": TEXT, "task": TEXT, "prompt_id": TEXT}
VERDICTS |= {"correct": YES_NO, "n_tokens": WHOLE, "truncated": YES_NO}
EFFECTS = {
    "arm": TEXT,
    "against": TEXT,
    "quantity": TEXT,  # `correct`, a share, or a loss in nats on the fixed rollouts after the last step
    "where": TEXT,  # the group of scenes; of a loss `all` or `bins 7-9`
    "n_seeds": WHOLE,  # that both arms have
    "mean": REAL,
    "mean_against": REAL,
    "difference": REAL,
    "low": REAL,  # 95 %: of an accuracy over scenes, of a loss twice the standard error over seeds
    "high": REAL,
    "least": REAL,  # of the seeds' differences
    "greatest": REAL,
    "counts_as": TEXT,  # by the rule in `study.effects`
}

SCHEMAS: Final[Mapping[str, pa.Schema]] = {
    "curves": pa.schema(CURVES),
    "steps": pa.schema(STEPS),
    "evaluations": pa.schema(EVALUATIONS),
    "gradients": pa.schema(GRADIENTS),
    "verdicts": pa.schema(VERDICTS),
    "effects": pa.schema(EFFECTS),
}


@dataclass(frozen=True)
class Run:
    """One run of a study."""

    arm: str
    seed: int
    journal: Journal

    @property
    def names(self) -> dict[str, Any]:
        return {"arm": self.arm, "seed": self.seed}


def journal_tables(runs: Sequence[Run]) -> dict[str, pd.DataFrame]:
    """Return the tables that journals fill: `curves`, `steps`, `evaluations`, `gradients`."""
    rows = {"curves": _curves, "steps": _steps, "evaluations": _evaluations, "gradients": _gradients}
    return {
        table: pd.DataFrame([run.names | row for run in runs for row in of(run.journal)], columns=SCHEMAS[table].names)
        for table, of in rows.items()
    }


def _curves(journal: Journal) -> Iterator[dict[str, Any]]:
    for step in journal.steps:
        yield from _losses(step.step, "training", step.losses, step.losses_by_fixed_bin)
    for found in journal.evaluations:
        yield from _losses(found.step, "fixed", found.losses, found.losses_by_bin)
        yield from _losses(found.step, "own", found.own_losses, found.own_losses_by_bin)


def _losses(step: int, rollouts: str, whole: Mapping[str, float | None], binned: Binned) -> Iterator[dict[str, Any]]:
    for number in range(ALL_BINS, N_BINS):
        means = whole if number == ALL_BINS else {loss: binned[loss][number] for loss in LOSSES}
        yield {"step": step, "rollouts": rollouts, "bin": number} | {f"{loss}_nats": means[loss] for loss in LOSSES}


def _steps(journal: Journal) -> Iterator[dict[str, Any]]:
    for line in journal.steps:
        numbers = {name: getattr(line, name) for name in _MEASURED + _UPDATED}
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
            yield row | {f"{angle}_deg": angles[scope][angle] for angle in ANGLES}
