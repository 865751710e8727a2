"""The folder of a run: taken by one run at a time, and continued by none but the one that began it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from records import RecordError
from records.files import write_json
from records.fingerprint import difference, plain
from records.lock import NAME as LOCK
from records.lock import Lock
from train.config import Config
from vlm.pair import Pair

CONFIG = "config.json"


@contextmanager
def opened(folder: Path, config: Config, pair: Pair, accelerator: Accelerator) -> Iterator[None]:
    """Hold the folder, on the main process; the others wait until it is ready."""
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder)
    except OSError as error:
        raise RecordError(f"cannot write `{folder}` ({error.strerror}): choose another `--out`") from None
    try:
        _begin(folder, config, pair)
        accelerator.wait_for_everyone()
        yield
    finally:
        lock.release()


def _begin(folder: Path, config: Config, pair: Pair) -> None:
    """Begin a run in a folder, or make sure that the one in it is this one."""
    path = folder / CONFIG
    weights = {"student": pair.student.fingerprint, "teacher": pair.teacher.fingerprint}
    content = plain({"settings": config.settings, "weights": weights})
    if not path.is_file():
        if strangers := sorted(item.name for item in folder.iterdir() if not item.name.startswith((LOCK, CONFIG))):
            raise RecordError(f"`{folder}` holds {strangers[0]} but no run: choose another `--out`")
    elif not config.resume:
        raise RecordError(f"`{folder}` holds a run: pass `--resume`, or choose another `--out`")
    elif not config.override:
        _refuse_change(path, content)
    write_json(path, content)


def _refuse_change(path: Path, content: dict[str, Any]) -> None:
    try:
        found = json.loads(path.read_bytes())
    except ValueError:
        raise RecordError(f"`{path}` is no JSON: choose another `--out`") from None
    if (other := difference(found, content)) is not None:
        raise RecordError(
            f"`{path}` has `{other.field}` {other.left!r}, not {other.right!r}: "
            "pass `--override`, or choose another `--out`"
        )
