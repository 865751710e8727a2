"""The journal, logged to a tracker as it is written: `--track tensorboard`, or another of accelerate's.

Each number of a line is logged under its kind and its place in the line, at the line's step: `step/losses/visual`,
`evaluation/accuracy/high`, `geometry/angles_deg/all/language_visual`. Lists, which are by bin, and gaps are in the
journal alone. At each evaluation tensorboard, wandb and trackio also get the pictures of the journal so far, and a
table of the student's own responses with the numbers of their tokens, see `figures.for_trackers`.

No tracker is imported unless it is asked for. A run that is continued logs the steps since its last checkpoint again.
tensorboard and wandb write into the run's folder.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers

from cli.errors import OptionError
from records.journal_lines import Line
from train.config import Config
from vlm.responses.sample_table import Sample

PROJECT = "vgs-geometry"


def logging(config: Config, folder: Path) -> dict[str, Any]:
    """Return the arguments of an `Accelerator` that name the tracker.

    Raises:
        OptionError: the tracker's package is not installed.
    """
    if config.track is None:
        return {}
    if config.track not in {str(name) for name in get_available_trackers()}:
        package = config.track.replace("_", "-")
        raise OptionError(f"`track` needs the package {package}, which is not installed: pip install {package}")
    return {"log_with": [config.track], "project_dir": str(folder)}


@contextmanager
def tracked(accelerator: Accelerator, config: Config, folder: Path) -> Iterator[None]:
    """Start the tracker with the flags of the run, and end it also after an error."""
    if config.track is None:
        yield
        return
    settings = {name: v if isinstance(v, (bool, int, float, str)) else str(v) for name, v in config.settings.items()}
    places = {"wandb": {"name": folder.resolve().name, "dir": str(folder)}}
    accelerator.init_trackers(PROJECT, settings, places)
    try:
        yield
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()


def log(accelerator: Accelerator, line: Line) -> None:
    """Log the numbers of a journal line, if there is a tracker."""
    if accelerator.trackers:
        accelerator.log(scalars(line), step=line.step)


def show(run_folder: Path, accelerator: Accelerator, step: int, table: Sequence[Sample]) -> None:
    """Hand over the pictures of the journal and a table of responses, if there is a tracker that takes them."""
    if accelerator.trackers:
        from figures import for_trackers  # here, as it loads matplotlib

        for_trackers.show(accelerator.trackers, run_folder, step, [asdict(sample) for sample in table])


def scalars(line: Line) -> dict[str, float]:
    """Return the finite numbers of a line by their place in it."""
    content = {name: value for name, value in asdict(line).items() if name != "step"}
    return dict(_scalars(line.kind, content))


def _scalars(place: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _scalars(f"{place}/{name}", inner)
    elif isinstance(value, (bool, int, float)) and isfinite(value):
        yield place, float(value)
