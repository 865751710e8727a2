"""The folder of a run: held by one process at a time, continued by the same run alone, and read back by anyone.

config.json      the flags, fingerprints of the models that the run began with, and how many prompts it leaves out
metrics.jsonl    the journal, see `records.journal`
held_out.json    the fixed rollouts that evaluations score
last, best       checkpoints that every probe reads
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from records import RecordError
from records.files import LOCK, hold, write_json
from records.fingerprint import difference, plain
from records.run_folder import CONFIG, read_config
from records.run_folder import read_run as read_run
from train.config import Config

if TYPE_CHECKING:
    from accelerate import Accelerator  # named only: a run is read back without torch


@contextmanager
def opened(config: Config, models: Mapping[str, Any], accelerator: "Accelerator") -> Iterator[None]:
    """Hold the run's folder on the main process, and refuse one that cannot go on; the others wait until it is held.

    Nothing is written but the lock: `begin` does that, once all is checked.

    models: `weights` and `setup`, fingerprints of the models that the run begins with, and what else identifies it.

    Raises:
        RecordError: another process holds the folder, it cannot be written, or it holds something else.
        NotWritten: the system refuses to write there.
    """
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
        yield
        return
    folder = Path(config.folder)
    lock = hold(folder)
    try:
        _refuse_other(folder, config, models)
        accelerator.wait_for_everyone()
        yield
    finally:
        lock.release()


def begin(config: Config, models: Mapping[str, Any]) -> None:
    """Write what identifies the run; its folder must be held, and all that it goes on from read and checked."""
    write_json(Path(config.folder) / CONFIG, _content(config, models))


def _content(config: Config, models: Mapping[str, Any]) -> dict[str, Any]:
    return dict(plain({"settings": config.settings, **models}))


def _refuse_other(folder: Path, config: Config, models: Mapping[str, Any]) -> None:
    """Refuse a folder that holds something else, a run that is not this one, or one whose files were changed."""
    path = folder / CONFIG
    if not path.is_file():
        if strangers := sorted(item.name for item in folder.iterdir() if not item.name.startswith((LOCK, CONFIG))):
            raise RecordError(f"`{folder}` holds {strangers[0]} but no run: choose another `--out`")
        return
    if not config.resume:
        raise RecordError(f"`{folder}` holds a run: pass `--resume`, or choose another `--out`")
    from train.held import refuse_changed  # here, as it loads torch

    made_with = {"settings": {}, **read_config(path)}
    every = made_with["settings"].get("checkpoint_every")
    if not config.override:
        _refuse_change(path, made_with, _content(config, models), config)
    refuse_changed(folder, every if type(every) is int else config.checkpoint_every)


def _refuse_change(path: Path, made_with: dict[str, Any], content: Mapping[str, Any], config: Config) -> None:
    if made_with["settings"].get("device") == "auto":  # whichever there is
        made_with["settings"]["device"] = content["settings"]["device"]
    _call_as_today(made_with, content, config)
    if (other := difference(made_with, content)) is not None:
        raise RecordError(
            f"`{path}` has `{other.field}` {other.left!r}, not {other.right!r}{_meaning(other.field)}: "
            "pass `--override`, or choose another `--out`"
        )


def _call_as_today(made_with: Mapping[str, Any], content: Mapping[str, Any], config: Config) -> None:
    """Replace fingerprints of hub ids that earlier versions called otherwise, where the weights are the same."""
    from vlm.checkpoints.adapter_folders import was_called  # here, as it loads torch
    from vlm.checkpoints.pair import teacher_named

    before, now = made_with.get("weights", {}), content.get("weights", {})
    for side in ("student", "teacher"):
        if before.get(side) in (None, now.get(side)):
            continue
        named = config.student if side == "student" else teacher_named(config.student, config.teacher).checkpoint
        if was_called(named, before[side]):
            before[side] = now[side]


def _meaning(field: str) -> str:
    """What it means that a fingerprint differs, as a clause."""
    kind, _, side = field.partition(".")
    words = {"weights": "the weights", "setup": "config, tokenizer or processor"}
    if kind not in words:
        return ""
    return f" ({words[kind]} of the {side} have changed since the run began)"
