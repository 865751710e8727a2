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

from cli.foreign_json import read_json
from cli.shell import run_module
from records import Measurement, RecordError, read_journal
from records.files import LOCK, Lock, write_json
from records.fingerprint import difference, plain
from records.journal_tables import Run, journal_tables
from train.config import Config

if TYPE_CHECKING:
    from accelerate import Accelerator  # named only: a run is read back without torch

CONFIG = "config.json"


@contextmanager
def opened(config: Config, models: Mapping[str, Any], accelerator: "Accelerator") -> Iterator[None]:
    """Hold the run's folder on the main process; the others wait until it is ready.

    models: `weights` and `setup`, fingerprints of the models that the run begins with, and what else identifies it.

    Raises:
        RecordError: another process holds the folder, it cannot be written, or it holds something else.
    """
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
        yield
        return
    folder = Path(config.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder)
    except OSError as error:
        raise RecordError(f"cannot write `{folder}` ({error.strerror}): choose another `--out`") from None
    try:
        _begin(folder, config, models)
        accelerator.wait_for_everyone()
        yield
    finally:
        lock.release()


def read_run(folder: str | Path) -> Measurement:
    """Return the tables of a run, in the shape that pictures of training take: `figures.training_norms.draw`, others.

    The tables are `curves`, `steps`, `evaluations` and `gradients`; `records.tables.study` has their columns. `arm` is
    the objective. The header has `pair`, `weights`, `setup` and `settings`, the flags. A run that still goes on can be
    read.

    Raises:
        RecordError: the folder holds no run, or its journal is broken.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise RecordError(f"`{folder}` holds no run: make one with `{run_module('train', '--out', folder)}`")
    content = _read(folder / CONFIG)
    settings = content["settings"]
    pair = {side: settings[side] for side in ("student", "teacher")}
    tables = journal_tables([Run(settings["objective"], settings["seed"], read_journal(folder))])
    return Measurement(folder, {"header": {"probe": "train", "pair": pair, **content}}, tables)


def _begin(folder: Path, config: Config, models: Mapping[str, Any]) -> None:
    """Begin a run in a folder, or make sure that the one in it is this one."""
    path = folder / CONFIG
    content = plain({"settings": config.settings, **models})
    if not path.is_file():
        if strangers := sorted(item.name for item in folder.iterdir() if not item.name.startswith((LOCK, CONFIG))):
            raise RecordError(f"`{folder}` holds {strangers[0]} but no run: choose another `--out`")
    elif not config.resume:
        raise RecordError(f"`{folder}` holds a run: pass `--resume`, or choose another `--out`")
    elif not config.override:
        _refuse_change(path, content, config)
    write_json(path, content)


def _refuse_change(path: Path, content: Mapping[str, Any], config: Config) -> None:
    made_with = _read(path)
    if made_with.get("settings", {}).get("device") == "auto":  # whichever there is
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


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path.read_bytes())
    except ValueError:
        raise RecordError(f"`{path}` is no JSON: choose another `--out`") from None
