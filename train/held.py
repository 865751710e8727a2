"""Whether what a run goes on from is what it wrote: its last checkpoint, its journal and its fixed rollouts.

Each checkpoint has `checkpoint.json`: the sha256 of each of its files, and of what the run had written by then. All is
held against it before anything is written. Checkpoints that earlier versions wrote have none; of those only missing
files are seen.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from records import RecordError
from records.files import TEMPORARY, file_sha256, read_json, write_json
from records.journal import JOURNAL, JournalWriter
from vlm.checkpoints.optimizer_state import STATE

MANIFEST: Final = "checkpoint.json"
CHECKPOINTS: Final = "checkpoints"
LAST, BEST = "last", "best"
HELD_OUT: Final = "held_out.json"
_WAY_OUT: Final = "put back what the run wrote, or start again at another `--out`"


def write_manifest(folder: Path, step: int, best: float | None, run: Mapping[str, str]) -> None:
    """Write the sha256 of each file of a checkpoint that is otherwise whole.

    best: the best accuracy before the step.
    run: sha256 of the run's files, by name.
    """
    files = {str(path.relative_to(folder)): file_sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    write_json(folder / MANIFEST, {"step": step, "best": best, "run": dict(run), "files": files})


def refuse_changed(run: Path, checkpoint_every: int) -> None:
    """Refuse to go on with a run whose files are not those that it wrote. Nothing is written.

    checkpoint_every: as the run was begun with.

    Raises:
        RecordError: a file or link is missing or was changed; the message names it.
    """
    if not os.path.lexists(run / LAST):
        _refuse_without_last(run, checkpoint_every)
        return
    stated = _refuse_changed_checkpoint(run, LAST)
    if not (run / HELD_OUT).is_file():
        raise RecordError(f"`{run / HELD_OUT}` is missing, which the first student made: {_WAY_OUT}")
    if os.path.lexists(run / BEST):
        if not (run / BEST).exists() or not (run / BEST).samefile(run / LAST):
            _refuse_changed_checkpoint(run, BEST)
    elif stated and stated["best"] is not None:
        raise RecordError(f"`{run / BEST}` is missing, and the run had a best checkpoint: {_WAY_OUT}")
    if stated:
        _refuse_changed_run(run, stated)


def _refuse_without_last(run: Path, checkpoint_every: int) -> None:
    """Refuse a run that has lost its checkpoints; one that was killed before the first has none."""
    left = [path for path in (run / CHECKPOINTS).glob("step-*") if not path.name.endswith(TEMPORARY)]
    # one folder without a link: the run was killed between the first checkpoint and its link
    if len(left) > 1 or os.path.lexists(run / BEST) or _has_steps(run, checkpoint_every):
        raise RecordError(f"`{run / LAST}` is missing, and the run had a checkpoint: {_WAY_OUT}")


def _has_steps(run: Path, more_than: int) -> bool:
    path = run / JOURNAL
    return path.is_file() and path.read_bytes().count(b'"kind": "step"') > more_than


def _refuse_changed_checkpoint(run: Path, link: str) -> Mapping[str, Any] | None:
    """Hold a checkpoint against its own list of files; return what the list says, None where there is none."""
    folder = run / link
    if not folder.is_dir():
        raise RecordError(f"`{folder}` points to nothing: {_WAY_OUT}")
    if (run / CHECKPOINTS).resolve() not in folder.resolve().parents:
        raise RecordError(f"`{folder}` must be one of the run's own checkpoints, got {folder.resolve()}: {_WAY_OUT}")
    if not (folder / STATE).is_file():
        raise RecordError(f"`{folder / STATE}` is missing: {_WAY_OUT}")
    if not (folder / MANIFEST).is_file():
        return None
    stated = read_json(folder / MANIFEST)
    if not _is_manifest(stated):
        raise RecordError(f"`{folder / MANIFEST}` is damaged: {_WAY_OUT}")
    for name, sha256 in stated["files"].items():
        if not (folder / name).is_file():
            raise RecordError(f"`{folder / name}` is missing: {_WAY_OUT}")
        if file_sha256(folder / name) != sha256:
            raise RecordError(f"`{folder / name}` was changed since the run wrote it: {_WAY_OUT}")
    return dict(stated)


def _is_manifest(content: Any) -> bool:
    if not isinstance(content, dict) or content.keys() != {"step", "best", "run", "files"}:
        return False
    mappings = [content["run"], content["files"]]
    return type(content["step"]) is int and STATE in content["files"] and all(isinstance(m, dict) for m in mappings)


def _refuse_changed_run(run: Path, stated: Mapping[str, Any]) -> None:
    """Hold the journal up to the checkpoint and the fixed rollouts against what the checkpoint says of them."""
    journal = JournalWriter(run, stated["step"])  # refuses one that is broken or too short; nothing is written
    now = {JOURNAL: journal.sha256_before(stated["step"]), HELD_OUT: file_sha256(run / HELD_OUT)}
    for name, sha256 in stated["run"].items():
        if now.get(name) != sha256:
            raise RecordError(f"`{run / name}` was changed since the run wrote it: {_WAY_OUT}")
