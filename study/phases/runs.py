"""The runs: each pair of a suite is a study of its own, whose record grows seed by seed.

    RUNS/PAIR/<arm>-<seed>    a run of `train`, see `study.runs`
    RECORDS/PAIR              the record of `study.effects` that holds all complete runs of the pair

A run that the record holds is not made again, so that records alone carry the experiment from machine to machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import OptionError
from records.record_json import RECORD
from study.effects import grow
from study.runs import run


@dataclass(frozen=True)
class Plan:
    """What is run on each pair with each seed: arms, answers at the end, and the flags that all runs share."""

    arms: Sequence[str]
    answers: int
    flags: Mapping[str, Any]


def students(suite: str | Path, names: Sequence[str] = ()) -> dict[str, Path]:
    """Return the students of a suite by the name of their pair, those of `names` in that order, or all.

    Raises:
        OptionError: the suite has no such pair, or none.
    """
    suite = Path(suite)
    there = {path.parent.parent.name: path.parent for path in sorted(suite.glob("*/student/pair.json"))}
    if not there:
        raise OptionError(f"`suite` must hold pairs, and `{suite}` holds none: make them with `python -m study.suite`")
    if lacking := [name for name in names if name not in there]:
        raise OptionError(f"`pairs` must be of {', '.join(there)}, got {lacking[0]!r}")
    return {name: there[name] for name in names or there}


def run_seed(student: Path, seed: int, runs: Path, record: Path, plan: Plan) -> None:
    """Run what the record of a pair lacks of a seed, and add it."""
    held = record if (record / RECORD).is_file() else None
    made = run(plan.arms, [seed], folder=runs, answers=plan.answers, continues=held, student=str(student), **plan.flags)
    if made:
        grow(record, runs)
