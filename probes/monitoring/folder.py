"""The folder of a monitor: what it was made with, its journal, and the tokens of each measurement.

It has the layout of a training run, see `records.run_folder`, so that pictures and comparisons read both.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from probes.monitoring.measuring import Measured
from records import TABLES, RecordError
from records.files import hold, write_json
from records.fingerprint import difference, plain
from records.journal import JOURNAL, JournalWriter
from records.journal_lines import EvaluationLine
from records.run_folder import CONFIG, TOKENS, read_config, read_tokens, write_tokens
from vlm.responses.rollouts import Rollout

_ROLLOUTS = TABLES["rollouts"]


class MonitorFolder:
    """The folder of a monitored run that stands at `step`, held until `close`.

    Args:
        path: of the folder; made if missing.
        header: what identifies the run.
        step: the number of updates before; from 1 on an earlier part of the run is continued.
        overwrite: begin a new run, whatever run is there.

    Raises:
        RecordError: another process holds the folder, or it holds something else.
        NotWritten: the system refuses to write there.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], step: int, overwrite: bool) -> None:
        self.path, self._header = path, plain(header)
        self._lock = hold(path)
        try:
            self._prepare(step, overwrite)
            self._journal = JournalWriter(path, step, every_step=False)
        except BaseException:
            self._lock.release()
            raise

    @property
    def evaluations(self) -> list[EvaluationLine]:
        """The evaluations so far, in order."""
        return [line for line in self._journal.lines if isinstance(line, EvaluationLine)]

    @property
    def first(self) -> pd.DataFrame | None:
        """The tokens of the first measurement; None where there is none."""
        return read_tokens(self.path, self.evaluations[0].step) if self.evaluations else None

    def kept_rollouts(self) -> list[Rollout] | None:
        """Return the fixed responses of the earlier part of the run; None where there is none."""
        first = self.first
        if first is None:
            return None
        said = _ROLLOUTS.read(self.path).sort_values("rollout_id")
        ids = {number: tuple(map(int, rows["token_id"])) for number, rows in first.groupby("rollout_id")}
        columns = (said[name] for name in ("rollout_id", "prompt_id", "response", "truncated"))
        places = said.groupby("prompt_id").cumcount()
        return [
            Rollout(prompt_id, int(place), ids[number], text, bool(is_cut))
            for place, number, prompt_id, text, is_cut in zip(places, *columns, strict=True)
        ]

    def begin(self, rollouts: pd.DataFrame) -> None:
        """Write what identifies the run, the table `rollouts` of the fixed responses, and the journal so far."""
        write_json(self.path / CONFIG, self._header)
        _ROLLOUTS.write(self.path, rollouts)
        self._journal.begin()

    def add(self, measured: Measured) -> None:
        """Write a measurement: its tokens, then its two lines of the journal."""
        write_tokens(self.path, measured.step, measured.tokens)
        self._journal.append(measured.evaluation)
        self._journal.append(measured.geometry)

    def close(self) -> None:
        """Free the folder; a second call does nothing."""
        self._lock.release()

    def _prepare(self, step: int, overwrite: bool) -> None:
        """Refuse a folder that holds something else, and clear a run that is to be overwritten."""
        if not (self.path / CONFIG).is_file():
            if strangers := sorted(item.name for item in self.path.iterdir() if item.name != "lock"):
                raise RecordError(f"`{self.path}` holds {strangers[0]} but no run: choose another `folder`")
            return
        there = read_config(self.path / CONFIG)
        if there.get("probe") != self._header["probe"]:
            raise RecordError(f"`{self.path}` holds a run of {there.get('probe', 'train')}: choose another `folder`")
        if overwrite and step == 0:
            self._clear()
            return
        if step == 0:
            raise RecordError(f"`{self.path}` holds a monitored run: pass `overwrite=True`, or choose another `folder`")
        if other := difference(_lasting(there), _lasting(self._header)):
            raise RecordError(
                f"`{self.path}` has `{other.field}` {other.left!r}, not {other.right!r}: choose another `folder`"
            )

    def _clear(self) -> None:
        """Remove what a monitor writes, and nothing else."""
        for name in (CONFIG, JOURNAL, _ROLLOUTS.file):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / TOKENS, ignore_errors=True)


def _lasting(header: Mapping[str, Any]) -> dict[str, Any]:
    """What stays the same when a run continues: all but the student's weights."""
    weights = {side: value for side, value in header.get("weights", {}).items() if side != "student"}
    return {**header, "weights": weights}
