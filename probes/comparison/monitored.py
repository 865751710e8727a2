"""A comparison of two measurements of monitors: read from their folders, without models.

    python -m probes.compare runs/monitor                  # its first and its last measurement
    python -m probes.compare runs/monitor@0 runs/monitor@150
    python -m probes.compare runs/standard runs/vgs        # the last of both, on the same responses

The tokens are those of the monitor's fixed responses, so that changes are paired by token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cli.errors import OptionError
from probes.comparison.changes import change_rows, token_changes
from records import TABLES, RecordError
from records.run_folder import is_run, read_tokens, steps_with_tokens, written_by
from records.tables.comparison import SIDES

MONITOR = "probes.monitor"
_AT = "@"
_SAME = ["prompt_id", "rollout_id", "position", "token_id"]


@dataclass(frozen=True)
class Moment:
    """A measurement of a monitor: its folder, and the number of updates before."""

    folder: Path
    step: int

    def __str__(self) -> str:
        return f"{self.folder}{_AT}{self.step}"

    @property
    def tokens(self) -> pd.DataFrame:
        """The table `tokens` of the measurement."""
        return read_tokens(self.folder, self.step)

    @property
    def header(self) -> Mapping[str, Any]:
        """What identifies the monitored run."""
        return written_by(self.folder)


def moments(names: Sequence[str]) -> tuple[Moment, Moment] | None:
    """Return what is compared; None where the first name is no folder of a monitor.

    Raises:
        OptionError: there are more than two, one is no folder of a monitor, or it has no such step.
    """
    folders = [_folder_of(name) for name in names]
    if folders[0] is None:
        return None
    if len(names) > len(SIDES) or None in folders:
        raise OptionError(
            f"`checkpoints` must be one folder of a monitor or two, got {', '.join(names)}; give none of another kind"
        )
    if len(names) == 1 and _AT not in Path(names[0]).name:
        return _moment(names[0], first=True), _moment(names[0])
    if len(names) == 1:
        raise OptionError(f"`checkpoints` must name two measurements, got {names[0]}; add FOLDER@STEP of another")
    return _moment(names[0]), _moment(names[1])


def header(before: Moment, after: Moment, probe: str) -> dict[str, Any]:
    """Return what identifies the record of a comparison.

    Raises:
        RecordError: the two had different teachers.
    """
    one, two = before.header, after.header
    if one["weights"]["teacher"] != two["weights"]["teacher"]:
        raise RecordError(f"`checkpoints` must have one teacher, but {before} and {after} differ: compare others")
    joined = {name: dict(two[name]) for name in ("pair", "weights", "setup")}
    for name, side in joined.items():
        side["student"] = [one[name]["student"], two[name]["student"]]
    joined["pair"]["student"] = [str(before), str(after)]
    settings = {"rollouts_of": "before", "before": str(before), "after": str(after), "seed": two["settings"]["seed"]}
    return {"probe": probe, **joined, "source": two["source"], "settings": settings}


def tables(before: Moment, after: Moment) -> dict[str, pd.DataFrame]:
    """Return the tables `rollouts`, `token_changes` and `changes`.

    Raises:
        RecordError: the two measured other responses.
    """
    tokens = dict(zip(SIDES, (before.tokens, after.tokens), strict=True))
    first, second = (tokens[side][_SAME].reset_index(drop=True) for side in SIDES)
    if not first.equals(second):
        raise RecordError(
            f"`checkpoints` must be measured on the same responses, but {before} and {after} are not: compare runs that"
            " began with the same student, prompts and seed"
        )
    changes = token_changes(tokens["before"], tokens)
    rollouts = TABLES["rollouts"].read(before.folder)
    seed = int(before.header["settings"]["seed"])
    return {"rollouts": rollouts, "token_changes": changes, "changes": change_rows(changes, seed)}


def _folder_of(name: str) -> Path | None:
    """The folder of a monitor that a name has, with or without a step."""
    for path in (Path(name), Path(name.rpartition(_AT)[0])):
        if path.name and is_run(path) and written_by(path)["probe"] == MONITOR:
            return path
    return None


def _moment(name: str, first: bool = False) -> Moment:
    folder = _folder_of(name)
    assert folder is not None
    steps, asked = steps_with_tokens(folder), name.removeprefix(str(folder)).removeprefix(_AT)
    if not steps:
        raise OptionError(f"`checkpoints`: {folder} has no measurement yet; wait for the first")
    if not asked.strip("/"):
        return Moment(folder, steps[0] if first else steps[-1])
    if not asked.isdecimal() or int(asked) not in steps:
        there = ", ".join(map(str, steps))
        raise OptionError(f"`checkpoints`: {folder} has no step {asked}; it must be one of {there}")
    return Moment(folder, int(asked))
